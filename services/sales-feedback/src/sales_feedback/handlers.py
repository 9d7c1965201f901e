"""Which event goes to which use case. Read this file first."""

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.channels_pb2 import ChannelRulesChanged, ChannelRulesRestated, TouchRegrouped
from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.history_pb2 import DealImported, FeedbackImported
from baton.lead.v1.lead_pb2 import LeadCreated, LeadErased, LeadMerged, LeadUnmerged, LeadUpdated, TouchRecorded
from baton.qualification.v1.qualification_pb2 import AgreementActivated, LeadQualified, LeadScored
from baton_kit.apply import Subscription
from sales_feedback.accounts import keep as accounts
from sales_feedback.app import App
from sales_feedback.erasing import erase
from sales_feedback.handoffs import contact, offer
from sales_feedback.history import keep
from sales_feedback.merging import follow

QUALIFIED: Subscription[App] = Subscription(
    group="sales-feedback.offer",
    topics=("baton.qualification.v1",),
    handlers={LeadQualified: offer.leads_qualified},
    gather_seconds=0.02,  # clocks run by minutes
    # Every LeadQualified brings the terms and reasons of its agreement along.
    ignores=frozenset({AgreementActivated, LeadScored}),
)

# Apart from the handoffs: a contact that cannot be applied must not hold up its lead.
CONTACTS: Subscription[App] = Subscription(
    group="sales-feedback.contact",
    topics=("baton.contact.v1",),
    handlers={ContactChanged: contact.contacts_changed},
    gather_seconds=0.05,  # a rep reads it seconds later
)

# Apart from the contacts: one of them that is parked must not hold up that its person is forgotten.
ERASURES: Subscription[App] = Subscription(
    group="sales-feedback.erase",
    topics=("baton.erasure.v1",),
    handlers={LeadErased: erase.leads_erased},
)


# On a topic of its own: a hundred thousand deals of the past hold up no lead of today.
HISTORY: Subscription[App] = Subscription(
    group="sales-feedback.history",
    topics=("baton.history.v1",),
    handlers={DealImported: keep.deals_imported, FeedbackImported: keep.feedback_imported},
)

MERGES: Subscription[App] = Subscription(
    group="sales-feedback.merge",
    topics=("baton.lead.v1", "baton.account.v1"),
    handlers={
        LeadMerged: follow.leads_merged,
        LeadUnmerged: follow.leads_merged,
        LeadAccountChanged: accounts.leads_moved,
        AccountLinked: accounts.accounts_linked,
        AccountMerged: accounts.accounts_merged,
        AccountUnmerged: accounts.accounts_merged,
    },
    gather_seconds=0.5,  # merges are few, and all that comes in between is passed over
    # Sales hears of a lead, and of its account, when it is handed over.
    ignores=frozenset(
        {LeadCreated, TouchRecorded, LeadUpdated, TouchRegrouped, ChannelRulesChanged, ChannelRulesRestated}
    ),
)

SUBSCRIPTIONS = (QUALIFIED, CONTACTS, ERASURES, MERGES, HISTORY)
