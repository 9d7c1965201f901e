"""What looks like spam is kept apart with its reason, and the sender learns nothing of it."""

import ast
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lead_intake
from baton_kit.ids import new_id
from lead_intake.delivery import Incoming, Outcome, Result, Source
from lead_intake.entry import Delivery, delivery_of
from lead_intake.ledger.hours import derived_id, floor_id, hour_of, time_of
from lead_intake.ledger.reasons import REASONS, UNKNOWN, reason_of
from lead_intake.ledger.request import opened_request, sealed_request
from lead_intake.sources import PROVIDERS
from lead_intake.spam import Rates, told

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = b"k" * 32


def delivery(body: str, *, at: datetime = AT, **settings: str) -> Delivery:
    source = Source("form", "generic", mapping={"honeypot": "fax"}, settings=settings)
    incoming = Incoming("POST", "", {"content-type": "application/json"}, body.encode(), "", at)
    return delivery_of(incoming, source, PROVIDERS["generic"].parse(incoming, source), body=incoming.body)


@pytest.mark.parametrize(
    ("body", "settings", "reason"),
    [
        ('{"email": "a@firm.es", "fax": "http://pills"}', {}, "spam_honeypot"),
        ('{"email": "a@firm.es", "fax": ""}', {}, ""),
        ('{"email": "a@firm.es", "fax": "  "}', {}, ""),
        ('{"email": "a@firm.es", "fax": "x"}', {"spam": "accept"}, ""),
        ('{"email": "a@MAILINATOR.com"}', {}, "spam_disposable"),
        ('{"email": "a@mailinator.com"}', {"disposable": "accept"}, ""),
        ('{"email": "a@mailinator.com", "fax": "x"}', {"disposable": "accept"}, "spam_honeypot"),
    ],
)
def test_an_entry_is_kept_apart_for_what_it_says(body: str, settings: dict[str, str], reason: str) -> None:
    [entry] = delivery(body, **settings).entries
    assert (entry.reason, entry.person is None) == (reason, bool(reason))
    assert entry.outcome is (Outcome.QUARANTINED if reason else None)


def test_one_address_comes_so_often_in_an_hour_and_others_do_not_suffer() -> None:
    rates, source = Rates(), Source("form", "generic", settings={"address_per_hour": "3"})

    def reason(email: str, at: datetime) -> str:
        judged = rates.judged(delivery(f'{{"email": "{email}", "submission_id": "{at}"}}', at=at), source)
        return judged.entries[0].reason

    found = [reason("a@firm.es", AT + timedelta(minutes=n)) for n in range(5)]
    assert found == ["", "", "", "spam_rate_address", "spam_rate_address"]
    assert reason("b@firm.es", AT + timedelta(minutes=6)) == ""
    assert reason("a@firm.es", AT + timedelta(minutes=61)) == "spam_rate_address"  # most of the hour still counts
    assert reason("a@firm.es", AT + timedelta(hours=3)) == ""


def test_what_is_sent_again_counts_once_and_is_never_held_back() -> None:
    rates, source = Rates(), Source("form", "generic", settings={"address_per_hour": "3"})
    found = [
        rates.judged(delivery(f'{{"email": "a@firm.es", "submission_id": "{n}"}}'), source).entries[0].reason
        for n in (1, 1, 1, 2, 2, 3, 1, 3, 4, 1)
    ]
    assert found == [""] * 8 + ["spam_rate_address", ""]


def test_a_source_takes_so_many_a_minute_and_what_is_above_counts_as_well() -> None:
    rates, source = Rates(), Source("form", "generic", settings={"source_per_minute": "10"})
    reasons = [
        rates.judged(delivery(f'{{"email": "p{n}@firm.es"}}', at=AT), source).entries[0].reason for n in range(30)
    ]
    assert reasons == [""] * 10 + ["spam_rate_source"] * 20


@given(
    times=st.lists(st.floats(0, 10_000), min_size=1, max_size=60).map(sorted),
    limit=st.integers(1, 10),
)
def test_no_hour_ever_lets_more_than_twice_the_limit_pass(times: list[float], limit: int) -> None:
    rates, source = Rates(), Source("form", "generic", settings={"address_per_hour": str(limit)})
    passed = []
    for n, t in enumerate(times):
        body = f'{{"email": "a@firm.es", "submission_id": "{n}"}}'
        judged = rates.judged(delivery(body, at=AT + timedelta(seconds=t)), source)
        if judged.entries[0].person is not None:
            passed.append(t)
    for start in passed:
        assert sum(start <= t < start + 3_600 for t in passed) <= 2 * limit


def test_the_memory_of_addresses_is_bounded() -> None:
    rates = Rates(most=100)
    for n in range(1_000):
        rates.count(f"k{n}", AT, seconds=60)
    assert len(rates._seen) == 100
    assert rates.count("k999", AT, seconds=60) == 2


def test_whoever_fills_the_trap_hears_what_everybody_hears() -> None:
    spam = delivery('[{"email": "a@firm.es", "fax": "x"}, {"email": "b@firm.es"}, {"name": "nobody"}]')
    result = Result("r", (Outcome.QUARANTINED, Outcome.CREATED, Outcome.QUARANTINED), reason="spam_honeypot")
    answer = PROVIDERS["generic"].reply(told(spam, result)).body.decode()
    assert "spam" not in answer
    assert '"outcomes":["created","created","quarantined"]' in answer
    assert "no_identity" in answer  # that one is worth mending


def _codes() -> Iterator[tuple[str, str]]:
    """Every reason code that stands in the source text, with its place."""
    root = Path(lead_intake.__file__).parent
    for path in sorted(root.rglob("*.py")):
        # The refusals of a merge are sentences to the person who asked for it, and no codes.
        if {"migrations", "merging", "accounts"} & set(path.relative_to(root).parts) or path.name == "reasons.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            # The door's refusal names its answer first, an import's the reason.
            wanted = {"Unparsable": 0, "Refused": int("importing" not in path.parts), "Impossible": 0, "NotThere": 0}
            entries = ("Inquiry", "Entry", "unreadable", "refusal", "quarantine")
            found = [k.value for k in node.keywords if k.arg in ("quarantined", "refused")]
            found += [k.value for k in node.keywords if k.arg == "reason" and name in entries]
            if name in wanted and len(node.args) > wanted[name]:
                found.append(node.args[wanted[name]])
            for value in found:
                for leaf in ast.walk(value):
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str) and leaf.value:
                        yield leaf.value, f"{path.relative_to(root)}:{node.lineno}"


def test_every_reason_that_can_be_given_is_in_the_closed_list_in_both_languages() -> None:
    codes = dict(_codes())
    assert {"not_json", "no_identity", "signature", "not_a_lead"} <= codes.keys()
    # What an unknown address is told is counted only: it belongs to no source and leaves no receipt.
    missing = {
        f"{place}: {code}" for code, place in codes.items() if reason_of(code) is UNKNOWN and code != "unknown_source"
    }
    assert sorted(missing) == []
    for reason in REASONS.values():
        for text in (reason.en, reason.remedy_en, reason.ru, reason.remedy_ru):
            assert text.endswith((".", "`.")), reason.code
        assert any("а" <= letter <= "я" for letter in reason.ru + reason.remedy_ru), reason.code


@given(at=st.integers(0, 4_000_000_000), name=st.text(max_size=20))
def test_ids_of_a_replay_are_uuids_of_the_receipts_time_and_always_the_same(at: int, name: str) -> None:
    moment = datetime.fromtimestamp(at, UTC)
    receipt = new_id(moment)
    made = derived_id(receipt, name)
    assert made == derived_id(receipt, name)
    assert uuid.UUID(made).version == 7
    assert uuid.UUID(made).variant == uuid.RFC_4122
    assert time_of(made) == time_of(receipt)
    assert floor_id(time_of(receipt)) <= receipt
    assert floor_id(hour_of(moment)) <= made < floor_id(hour_of(moment) + timedelta(hours=1))
    assert made != derived_id(receipt, name + "x") != derived_id(new_id(moment), name + "x")


def test_a_kept_request_opens_only_for_its_receipt_and_says_nothing_of_the_visitor() -> None:
    headers = {"authorization": "Bearer s3cret", "content-type": "text/plain", "cookie": "c", "x-forwarded-for": "1.2"}
    incoming = Incoming("POST", "http://x/v1/webhooks/f/t0ken", headers, b"body", "t0ken", AT)
    sealed = sealed_request(KEY, incoming, receipt_id="r1", with_body=True)
    for word in (b"s3cret", b"t0ken", b"body"):
        assert word not in sealed
    again = opened_request(KEY, sealed, receipt_id="r1", content_type="", body=None, received_at=AT)
    assert again is not None
    assert (again.url, again.token, again.body) == (incoming.url, incoming.token, incoming.body)
    assert again.headers == {"authorization": "Bearer s3cret", "content-type": "text/plain"}
    assert opened_request(KEY, sealed, receipt_id="r2", content_type="", body=None, received_at=AT) is None
