"""What the criteria see: the features of a lead and of a touch, as the contract defines them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from baton.lead.v1 import lead_pb2
from baton_agreement.canonical import MAX_INTEGER, canonical_bytes, quick_canonical_text

FeatureValue = bool | int | str | dict[str, str]
Features = Mapping[str, FeatureValue]

# Not a variable of the criteria: it says which tables derived the features, it tells nothing about the lead.
NOT_A_VARIABLE: Final = frozenset({"tables_version"})


def _fields(descriptor: Descriptor) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for field in descriptor.fields:
        if field.name in NOT_A_VARIABLE:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kinds[field.name] = "map"
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            kinds[field.name] = "bool"
        elif field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
            kinds[field.name] = "int"
        else:
            kinds[field.name] = "string"
    return kinds


LEAD_FIELDS: Final[Mapping[str, str]] = _fields(lead_pb2.LeadFeatures.DESCRIPTOR)
"""Variables of lead rules: name to bool, int, string or map (string to string)."""

TOUCH_FIELDS: Final[tuple[str, ...]] = (
    "kind",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "campaign_id",
    "adgroup_id",
    "ad_id",
    "form_id",
    "page",
    "referrer_domain",
    "source_id",
    "provider",
)
"""Variables of engagement rules, written `touch.<name>`; all are strings."""

TOUCH_KINDS: Final[Mapping[int, str]] = {
    lead_pb2.TOUCH_KIND_FORM: "form",
    lead_pb2.TOUCH_KIND_AD_CLICK: "ad_click",
    lead_pb2.TOUCH_KIND_VISIT: "visit",
    lead_pb2.TOUCH_KIND_EMAIL: "email",
    lead_pb2.TOUCH_KIND_CALL: "call",
    lead_pb2.TOUCH_KIND_EVENT: "event",
    lead_pb2.TOUCH_KIND_CHAT: "chat",
}

_DEFAULTS: Final[Mapping[str, Any]] = {"bool": False, "int": 0, "string": ""}
_UNKNOWN_LEAD: Final[Mapping[str, Any]] = {
    name: {} if kind == "map" else _DEFAULTS[kind] for name, kind in LEAD_FIELDS.items()
}


@dataclass(frozen=True, slots=True)
class Touch:
    """One touch as the criteria see it; `hour` is whole hours since 1970-01-01T00:00Z."""

    id: str
    hour: int
    fields: Mapping[str, str]

    @property
    def kind(self) -> str:
        return self.fields.get("kind", "")


class Profile(NamedTuple):
    """What is known of a lead; `text` is its canonical JSON, encoded once for the row and for the snapshot."""

    features: Features
    text: str


def profile_of(features: Features) -> Profile:
    """Return the profile of features of our own making (`features_from_event`, or what was stored of them)."""
    answers = features.get("answers")
    # Only here do keys come from outside.
    if isinstance(answers, dict) and any(key and max(key) > "\uffff" for key in answers):
        return Profile(features, canonical_bytes(features).decode())
    return Profile(features, quick_canonical_text(features))


UNKNOWN: Final = profile_of({})


_FEATURES: Final = [
    (field.name, LEAD_FIELDS.get(field.name, "int"))  # tables_version is the one that is no variable
    for field in lead_pb2.LeadFeatures.DESCRIPTOR.fields
]


def features_from_event(message: lead_pb2.LeadFeatures) -> dict[str, FeatureValue]:
    """Return the features that are set; unknown ones are left out, so that a later field changes no old snapshot."""
    features: dict[str, FeatureValue] = {}
    # One by one: to list the fields that are set takes twice the time.
    for name, kind in _FEATURES:
        value = getattr(message, name)
        if not value:
            continue
        if kind == "bool":
            features[name] = value
        elif kind == "int":
            features[name] = max(-MAX_INTEGER, min(MAX_INTEGER, value))  # what canonical bytes can hold exactly
        elif kind == "string":
            features[name] = _clean(value)
        elif kind == "map":
            features[name] = {_clean(key): _clean(answer) for key, answer in value.items()}
    return features


def touch_fields_from_event(message: lead_pb2.TouchRecorded) -> dict[str, str]:
    """Return the fields of a touch that are set; a kind this version does not know counts as none."""
    fields = {name: _clean(value) for name in TOUCH_FIELDS if name != "kind" and (value := getattr(message, name))}
    kind = TOUCH_KINDS.get(message.kind)
    if kind is not None:
        fields["kind"] = kind
    return fields


def lead_variables(features: Features) -> dict[str, Any]:
    """Return a value for every variable of lead rules, with false, 0, "" and {} for what is unknown."""
    return {**_UNKNOWN_LEAD, **{name: value for name, value in features.items() if name in LEAD_FIELDS}}


def touch_variables(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a value for every variable of engagement rules, "" for what is unknown."""
    return {f"touch.{name}": fields.get(name, "") for name in TOUCH_FIELDS}


def _clean(text: str) -> str:
    # The criteria engine ends a string at NUL and PostgreSQL's jsonb refuses it: neither must decide about a lead.
    return text.replace("\x00", "�") if "\x00" in text else text
