"""Which event goes to which use case. Read this file first."""

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.channels_pb2 import ChannelRulesChanged, ChannelRulesRestated, TouchRegrouped
from baton.lead.v1.lead_pb2 import LeadCreated, LeadErased, LeadMerged, LeadUnmerged, LeadUpdated, TouchRecorded
from baton.sales.v1.sales_pb2 import DealClosed, HandoffChanged, SalesFeedback
from baton_kit.apply import Handlers, Subscription
from qualification import accounts, evaluate, forget
from qualification.app import App
from qualification.evidence import keep
from qualification.merging import rest

HANDLERS: Handlers[App] = {
    # One function for both: a lead and its first touch come together and make one decision.
    LeadCreated: evaluate.leads_moved,
    TouchRecorded: evaluate.leads_moved,
    LeadUpdated: evaluate.leads_moved,
    # The same one again: a batch that holds a merge locks otherwise, and must know it before its first lock.
    LeadMerged: evaluate.leads_moved,
    LeadUnmerged: evaluate.leads_moved,
    SalesFeedback: evaluate.feedback_arrived,
    DealClosed: keep.deals_closed,
    LeadErased: forget.leads_erased,
    HandoffChanged: rest.handoffs_changed,
    LeadAccountChanged: accounts.leads_moved,
    AccountMerged: accounts.accounts_merged,
    AccountUnmerged: accounts.accounts_merged,
}

SUBSCRIPTION: Subscription[App] = Subscription(
    group="qualification.decide",
    topics=("baton.lead.v1", "baton.sales.v1", "baton.erasure.v1", "baton.account.v1"),
    handlers=HANDLERS,
    # The channel among a lead's features is the one it came by: a decision stays what it was when reports are restated.
    # By which ids CRMs know an account matters to deals only.
    ignores=frozenset({ChannelRulesChanged, ChannelRulesRestated, TouchRegrouped, AccountLinked}),
)
