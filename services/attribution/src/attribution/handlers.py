"""Which event goes to which use case. Read this file first."""

from typing import TYPE_CHECKING

from attribution import credit, forget, record, regroup
from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.channels_pb2 import ChannelRulesChanged, ChannelRulesRestated, TouchRegrouped
from baton.lead.v1.lead_pb2 import LeadCreated, LeadErased, LeadMerged, LeadUnmerged, LeadUpdated, TouchRecorded
from baton.qualification.v1.qualification_pb2 import AgreementActivated, LeadQualified, LeadScored
from baton.sales.v1.sales_pb2 import DealClosed, HandoffChanged, SalesFeedback
from baton_kit.apply import Handlers, Subscription

if TYPE_CHECKING:
    from attribution.app import App

HANDLERS: "Handlers[App]" = {
    TouchRecorded: credit.leads_touched,
    TouchRegrouped: regroup.touches_regrouped,
    DealClosed: credit.deals_closed,
    ChannelRulesChanged: regroup.rules_changed,
    ChannelRulesRestated: regroup.rules_restated,
    LeadMerged: credit.leads_merged,
    LeadUnmerged: credit.leads_merged,
    LeadCreated: record.leads_created,
    LeadScored: record.leads_scored,
    LeadQualified: record.leads_qualified,
    HandoffChanged: record.handoffs_changed,
    SalesFeedback: record.feedback_given,
    LeadErased: forget.leads_erased,
    LeadAccountChanged: record.leads_moved,
    AccountMerged: record.accounts_merged,
    AccountUnmerged: record.accounts_merged,
}

SUBSCRIPTION: "Subscription[App]" = Subscription(
    group="attribution.credit",
    topics=("baton.lead.v1", "baton.qualification.v1", "baton.sales.v1", "baton.erasure.v1", "baton.account.v1"),
    handlers=HANDLERS,
    # The text of an agreement is no fact about a lead, its digest comes with each decision; a deal names its account.
    # What is told of a lead without a touch is in no journey.
    ignores=frozenset({AgreementActivated, AccountLinked, LeadUpdated}),
    # Reports wait for nobody's next click: a tenth of a second later they cost a tenth of the transactions.
    gather_seconds=0.1,
)
