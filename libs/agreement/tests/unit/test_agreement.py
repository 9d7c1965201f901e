import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agreement_strategies import agreements
from baton_agreement.agreement import agreement_from_canonical, read_agreement
from baton_agreement.canonical import digest_of
from baton_agreement.document import DocumentRefused, Flaw
from baton_agreement.schema import json_schema

HERE = Path(__file__).parents[2]
EXAMPLE = (HERE / "examples/agreement.yaml").read_bytes()


def refused(raw: bytes) -> list[Flaw]:
    with pytest.raises(DocumentRefused) as error:
        read_agreement(raw, "yaml")
    return error.value.flaws


def test_the_digest_is_the_sha256_of_the_canonical_bytes() -> None:
    agreement = read_agreement(EXAMPLE, "yaml")
    assert agreement.digest == digest_of(agreement.document)
    assert json.loads(agreement.document)["threshold"] == 45


def test_yaml_and_json_in_any_key_order_give_the_same_bytes() -> None:
    agreement = read_agreement(EXAMPLE, "yaml")
    backwards = dict(reversed(list(json.loads(agreement.document).items())))
    assert read_agreement(json.dumps(backwards, indent=3).encode(), "json").document == agreement.document
    assert read_agreement(yaml.safe_dump(backwards, allow_unicode=True).encode(), "yaml").document == agreement.document


@settings(max_examples=25)
@given(agreements())
def test_canonical_bytes_round_trip(agreement: Any) -> None:
    assert agreement_from_canonical(agreement.document) == agreement


@given(st.data())
@settings(max_examples=25)
def test_a_changed_byte_is_another_digest_or_refused(data: Any) -> None:
    agreement = read_agreement(EXAMPLE, "yaml")
    changed = bytearray(agreement.document)
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= 1
    try:
        other = agreement_from_canonical(bytes(changed))
    except DocumentRefused:
        return
    assert other.digest != agreement.digest


def test_the_published_schema_is_current() -> None:
    assert json.loads((HERE / "agreement.schema.json").read_text()) == json_schema()


def test_the_example_fulfils_the_published_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(read_agreement(EXAMPLE, "yaml").document), schema)


def test_errors_name_the_line_and_the_path() -> None:
    lines = EXAMPLE.decode().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "id: enterprise" in line)
    lines[number - 1] = lines[number - 1].replace("employees >=", "employes >=")
    [flaw] = refused("\n".join(lines).encode())
    assert (flaw.pointer, flaw.line) == ("/fit/5/when", number)
    assert flaw.column == lines[number - 1].index("employes") + 1


def test_all_that_is_wrong_is_said_at_once() -> None:
    flaws = refused(
        EXAMPLE.replace(b"threshold: 45", b"threshold: high").replace(b"\n  attempts: 5", b"\n  attempts: 5\n  x: 1")
    )
    assert {flaw.pointer for flaw in flaws} == {"/threshold", "/sla/x"}


@pytest.mark.parametrize(
    ("old", "new", "pointer", "says"),
    [
        (b"id: enterprise,", b"id: mid-market,", "/fit/5/id", "is taken by /fit/4/id"),
        (b"id: enterprise,", b"id: cap,", "/fit/5/id", "name of a group"),
        (b"points: 10, en: The company", b"points: 0, en: The company", "/fit/5/points", "0 points"),
        (b"cap: 30, en: Sent", b"cap: 3, en: Sent", "/engagement/0/cap", "less than"),
        (b"department: sales", b"department: marketing", "/parties", "marketing and sales once each"),
        (b"code: wrong_role", b"code: wrong_size", "/rejection_reasons/1/code", "twice"),
        (b"term: reachable", b"term: our_region", "/glossary/1/term", "twice"),
        (b"threshold: 45", b"threshold: true", "/threshold", "integer"),
        (b"accept_within: 4h", b"accept_within: 4", "/sla/accept_within", "string"),
        (b"accept_within: 4h", b"accept_within: 4w", "/sla/accept_within", "pattern"),
        (b"format: baton.agreement/1", b"format: other", "/format", "baton.agreement/1"),
        (b"id: b2b-software\n", b"", "", "'id' is missing"),
    ],
)
def test_inconsistencies_are_refused(old: bytes, new: bytes, pointer: str, says: str) -> None:
    assert old in EXAMPLE
    flaws = refused(EXAMPLE.replace(old, new, 1))
    assert any(flaw.pointer == pointer and says in flaw.detail for flaw in flaws), flaws


def test_the_refusal_never_repeats_the_value() -> None:
    flaws = refused(EXAMPLE.replace(b"threshold: 45", b"threshold: my-secret"))
    assert not any("my-secret" in flaw.detail for flaw in flaws)
