import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_intake import mapping
from lead_intake.calls import call_length
from lead_intake.delivery import Incoming, Inquiry, Source
from lead_intake.presets import PRESETS
from lead_intake.sources import PROVIDERS
from lead_intake.touches import TOUCH_KINDS, origin_of

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def read(preset: str, body: dict[str, object], **more: object) -> Inquiry:
    chosen = PRESETS[preset]
    source = Source(
        preset, chosen.provider, default_region="ES", mapping={**chosen.mapping, **more}, settings=chosen.settings
    )
    arrived = Incoming("POST", "", {"content-type": "application/json"}, json.dumps(body).encode(), "", NOW)
    [inquiry] = PROVIDERS[chosen.provider].parse(arrived, source)
    return inquiry


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_every_preset_is_a_valid_source_and_says_where_its_names_come_from(preset: object) -> None:
    chosen = PRESETS[preset.id]  # type: ignore[attr-defined]
    assert mapping.problems(chosen.mapping) == []
    assert chosen.provider in PROVIDERS
    assert chosen.settings.get("touch_kind", "form") in TOUCH_KINDS
    assert chosen.verified
    assert chosen.steps


def test_contact_form_7_is_read_by_its_tags() -> None:
    found = read(
        "contact_form_7",
        {
            "your-name": "Anna Petrova", "your-email": "anna.petrova@example.com", "tel-1": "+34600112233",
            "plan": ["Team"], "acceptance": "1", "utm_source": "google", "_url": "https://example.com/demo?gclid=TEST",
        },
    )  # fmt: skip
    assert dict(found.fields) == {
        "full_name": "Anna Petrova", "email": "anna.petrova@example.com", "phone": "+34600112233",
        "consent_marketing": "1", "utm_source": "google", "page_url": "https://example.com/demo?gclid=TEST",
    }  # fmt: skip
    assert found.key == ""  # without an id the body on one day decides


def test_a_call_tells_its_number_its_length_and_its_visitor() -> None:
    body = {"call_id": 2**63 + 1, "caller_number": "600112233", "tracking_number": "+34 911 222 333", "duration": 42}
    found = read("call_tracking", body | {"visitor_id": "v-1"})
    assert (found.key, found.fields["phone"], found.fields["anonymous_id"]) == (str(2**63 + 1), "600112233", "v-1")
    assert found.fields["form_id"] == "34911222333"
    assert dict(found.answers) == {"call_length": "medium"}


def test_a_dialled_number_stands_for_its_campaign_unless_the_call_tells_one() -> None:
    numbers = {"911 22 23 33": {"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "spring"}}
    body = {"call_id": "c1", "caller_number": "+34600112233", "tracking_number": "+34911222333"}
    of_number = origin_of(read("call_tracking", body, numbers=numbers), kind="call")
    assert (of_number.channel, of_number.utm_campaign, of_number.form_id) == ("paid_search", "spring", "34911222333")
    told = origin_of(read("call_tracking", body | {"utm_source": "bing"}, numbers=numbers), kind="call")
    assert (told.utm_source, told.utm_campaign) == ("bing", "")
    other = origin_of(read("call_tracking", body | {"tracking_number": "+34911222334"}, numbers=numbers), kind="call")
    assert other.channel == "direct"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("0", "missed"), ("29", "short"), ("30", "medium"), ("179.9", "medium"), ("180", "long"), ("1:05", "medium"),
        ("01:00:00", "long"), ("", ""), ("-5", ""), ("long", ""), ("NaN", ""), ("1e9", ""), ("1:2:3:4", ""),
    ],
)  # fmt: skip
def test_a_length_becomes_a_code(told: str, code: str) -> None:
    assert call_length(told) == code


@given(told=st.text(max_size=20))
def test_any_length_is_a_code_of_the_list_or_none(told: str) -> None:
    assert call_length(told) in ("", "missed", "short", "medium", "long")


@pytest.mark.parametrize(
    "numbers",
    ["+34911222333", {"+1911": "google"}, {"+1911": {"colour": "red"}}, {"+1911": {"utm_source": 1}}],
)
def test_a_wrong_list_of_numbers_is_told(numbers: object) -> None:
    assert mapping.problems({"numbers": numbers})[0][0].startswith("/mapping/numbers")
