"""Random agreements, features and touches for the promises that say "always"."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from baton_agreement.agreement import Agreement, read_agreement
from baton_agreement.features import Features, profile_of
from baton_agreement.scoring import Decision, Judge, Stamp, Touch, decide, hour_of, snapshot_of

AT = datetime(2026, 11, 24, 12, 34, 56, 789, tzinfo=UTC)

WORDS = {"en": "A sentence.", "ru": "Предложение."}
LEAD_CONDITIONS = [
    "has_email",
    "has_phone",
    'country == "DE"',
    'country in ["DE", "AT"]',
    "employees >= 50",
    "employees * employees > 4000000000000000000",
    'email_kind != "free"',
    '"q" in answers && answers["q"] == "yes"',
    "large",
    "large || has_phone",
    "true",
]
TOUCH_CONDITIONS = ['touch.page.startsWith("/pricing")', 'touch.channel == "email"', "priced", "!priced"]
points = st.integers(-60, 60).filter(bool)


floors = st.lists(st.integers(-60, 90), min_size=3, max_size=3, unique=True).map(lambda f: sorted(f, reverse=True))
cells = st.sampled_from([f"{row}{column}" for row in "ABCD" for column in "1234"])
matrices = st.fixed_dictionaries(
    {"fit": floors, "engagement": floors, "hand_over": st.lists(cells, min_size=1, unique=True)}
)


def _with(matrix: dict[str, Any]) -> dict[str, Any]:
    return {"matrix": matrix}


@st.composite
def agreements(draw: Any) -> Agreement:
    document: dict[str, Any] = {
        "format": "baton.agreement/1",
        "id": "random",
        "title": WORDS,
        "parties": [{"department": d, "name": d} for d in ("marketing", "sales")],
        "glossary": [
            {"term": "large", "definition": "employees >= 250", **WORDS},
            {"term": "priced", "definition": 'touch.page == "/pricing"', **WORDS},
        ],
        "gates": [
            {"id": f"g{i}", "when": when, **WORDS}
            for i, when in enumerate(draw(st.lists(st.sampled_from([*LEAD_CONDITIONS, "true", "true"]), max_size=2)))
        ],
        "disqualifiers": [
            {"id": f"d{i}", "when": f"!({when})", **WORDS}
            for i, when in enumerate(draw(st.lists(st.sampled_from([*LEAD_CONDITIONS, "true", "true"]), max_size=1)))
        ],
        "fit": [
            {"id": f"f{i}", "when": when, "points": draw(points), **WORDS}
            for i, when in enumerate(draw(st.lists(st.sampled_from(LEAD_CONDITIONS), min_size=1, max_size=6)))
        ],
        "engagement": [],
        "caps": {g: draw(st.integers(1, 80)) for g in ("fit", "engagement") if draw(st.booleans())},
        "threshold": draw(st.integers(1, 60)),
        "rejection_reasons": [{"code": "no", "family": "fit", **WORDS}],
        "sla": {"accept_within": "4h", "first_response_within": "1d", "attempts": 3},
    }
    for i in range(draw(st.integers(0, 5))):
        rule: dict[str, Any] = {
            "id": f"e{i}",
            "points": draw(points),
            "window_hours": draw(st.integers(1, 400)),
            **WORDS,
        }
        rule["touch"] = draw(st.sampled_from(["any", "form", "visit"]))
        if draw(st.booleans()):
            rule["when"] = draw(st.sampled_from(TOUCH_CONDITIONS))
        if draw(st.booleans()):
            rule["half_life_hours"] = draw(st.integers(1, 300))
        if draw(st.booleans()):
            rule["cap"] = abs(rule["points"]) + draw(st.integers(0, 50))
        document["engagement"].append(rule)
    if draw(st.booleans()):
        del document["threshold"]
        document["matrix"] = draw(matrices)
    document["lines"] = [
        {"id": f"l{i}", "when": when, **WORDS, **draw(st.one_of(st.just({"threshold": 5}), st.builds(_with, matrices)))}
        for i, when in enumerate(draw(st.lists(st.sampled_from(LEAD_CONDITIONS), max_size=3)))
    ]
    names = [line["id"] for line in document["lines"]]
    for section in ("gates", "disqualifiers", "fit", "engagement"):
        for rule in document[section]:
            if names and draw(st.booleans()):
                rule["lines"] = draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    return read_agreement(json.dumps(document).encode(), "json")


features = st.fixed_dictionaries(
    {},
    optional={
        "tables_version": st.just(1),
        "has_email": st.just(True),
        "has_phone": st.just(True),
        "country": st.sampled_from(["DE", "AT", "US"]),
        "employees": st.sampled_from([1, 50, 250, 5000, 2**53 - 1]),
        "email_kind": st.sampled_from(["free", "business"]),
        "answers": st.dictionaries(
            st.sampled_from(["q", "r", "\ufb33", "😀"]), st.sampled_from(["yes", "no", "ü\u2028"])
        ),
    },
)

touch_fields = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["form", "visit", "email"]),
        "page": st.sampled_from(["/pricing", "/", "/demo"]),
        "channel": st.sampled_from(["email", "paid_search"]),
    },
)

touches = st.lists(
    st.builds(
        lambda id, age, fields: Touch(id=f"t{id}", hour=hour_of(AT) - age, fields=fields),
        st.integers(0, 10_000),
        st.integers(-3, 500),
        touch_fields,
    ),
    max_size=12,
    unique_by=lambda t: t.id,
)

moments = st.integers(0, 2_000_000).map(lambda seconds: AT + timedelta(seconds=seconds))


def decided(
    agreement: Agreement, known: Features, seen: Sequence[Touch], *, at: datetime = AT, judge: Judge | None = None
) -> Decision:
    stamp = Stamp(agreement.id, 3, agreement.digest, 7)
    snapshot = snapshot_of(profile_of(known), seen, agreement=agreement, at=at)
    return decide("lead-1", snapshot, cycle=1, judge=judge or Judge(agreement), stamp=stamp, at=at)
