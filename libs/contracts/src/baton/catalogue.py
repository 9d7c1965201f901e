"""Which event travels on which topic. Made from topics.yaml by `make proto`: do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from baton.lead.v1 import accounts_pb2
from baton.lead.v1 import channels_pb2
from baton.lead.v1 import contact_pb2
from baton.lead.v1 import history_pb2
from baton.lead.v1 import lead_pb2
from baton.qualification.v1 import qualification_pb2
from baton.sales.v1 import sales_pb2


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as proto/topics.yaml defines it; `config` are Kafka topic settings."""

    name: str
    owner: str
    partitions: int
    config: Mapping[str, str]
    restricted: bool = False
    events: tuple[type[Message], ...] = field(default=())


TOPICS: Mapping[str, Topic] = {
    'baton.lead.v1': Topic(
        name='baton.lead.v1',
        owner='lead-intake',
        partitions=12,
        config={'cleanup.policy': 'delete', 'retention.ms': '-1', 'max.message.bytes': '1048576'},
        restricted=False,
        events=(lead_pb2.LeadCreated, lead_pb2.TouchRecorded, lead_pb2.LeadUpdated, channels_pb2.TouchRegrouped, channels_pb2.ChannelRulesChanged, channels_pb2.ChannelRulesRestated, lead_pb2.LeadMerged, lead_pb2.LeadUnmerged, accounts_pb2.LeadAccountChanged,),
    ),
    'baton.account.v1': Topic(
        name='baton.account.v1',
        owner='lead-intake',
        partitions=12,
        config={'cleanup.policy': 'delete', 'retention.ms': '-1', 'max.message.bytes': '1048576'},
        restricted=False,
        events=(accounts_pb2.AccountLinked, accounts_pb2.AccountMerged, accounts_pb2.AccountUnmerged,),
    ),
    'baton.history.v1': Topic(
        name='baton.history.v1',
        owner='lead-intake',
        partitions=12,
        config={'cleanup.policy': 'delete', 'retention.ms': '-1', 'max.message.bytes': '1048576'},
        restricted=False,
        events=(history_pb2.DealImported, history_pb2.FeedbackImported,),
    ),
    'baton.contact.v1': Topic(
        name='baton.contact.v1',
        owner='lead-intake',
        partitions=12,
        config={'cleanup.policy': 'compact', 'max.compaction.lag.ms': '86400000', 'max.message.bytes': '1048576'},
        restricted=True,
        events=(contact_pb2.ContactChanged,),
    ),
    'baton.erasure.v1': Topic(
        name='baton.erasure.v1',
        owner='lead-intake',
        partitions=12,
        config={'cleanup.policy': 'delete', 'retention.ms': '-1', 'max.message.bytes': '1048576'},
        restricted=False,
        events=(lead_pb2.LeadErased,),
    ),
    'baton.qualification.v1': Topic(
        name='baton.qualification.v1',
        owner='qualification',
        partitions=12,
        config={'cleanup.policy': 'delete', 'retention.ms': '-1', 'max.message.bytes': '1048576'},
        restricted=False,
        events=(qualification_pb2.AgreementActivated, qualification_pb2.LeadScored, qualification_pb2.LeadQualified,),
    ),
    'baton.sales.v1': Topic(
        name='baton.sales.v1',
        owner='sales-feedback',
        partitions=12,
        config={'cleanup.policy': 'delete', 'retention.ms': '-1', 'max.message.bytes': '1048576'},
        restricted=False,
        events=(sales_pb2.HandoffChanged, sales_pb2.SalesFeedback, sales_pb2.DealClosed,),
    ),
}

TOPIC_OF: Mapping[str, str] = {
    event.DESCRIPTOR.full_name: topic.name for topic in TOPICS.values() for event in topic.events
}
"""Full proto name of an event to the topic it travels on."""

EVENTS: Mapping[str, type[Message]] = {
    event.DESCRIPTOR.full_name: event for topic in TOPICS.values() for event in topic.events
}
"""Full proto name of an event to its class."""
