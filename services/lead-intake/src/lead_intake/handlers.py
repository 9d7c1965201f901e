"""Which event goes to which use case: intake reads back its own contacts, to find leads by them."""

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit.apply import Subscription
from lead_intake.app import App
from lead_intake.searching import keep

SEARCH: Subscription[App] = Subscription(
    group="lead-intake.search",
    topics=("baton.contact.v1",),
    handlers={ContactChanged: keep.contacts_changed},
    gather_seconds=0.2,  # who searches for a name has not just typed it into the form
)

SUBSCRIPTIONS = (SEARCH,)
