"""Write a suggestion as an agreement that both departments can read, change and propose."""

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from baton_agreement.agreement import read_agreement
from baton_evidence.rules import Said, said
from baton_evidence.suggest import Suggestion

MARK: Final = "# Suggested by `baton agreement suggest`"

_REASONS: Final = (
    ("wrong_fit", "fit", "Not the customers we serve.", "Не наш клиент."),
    ("no_interest", "intent", "No real interest.", "Нет реального интереса."),
    ("not_now", "timing", "Not now, later.", "Не сейчас, позже."),
    ("wrong_data", "data", "Contact data is wrong.", "Неверные контактные данные."),
    ("not_reached", "reach", "Could not be reached.", "Не удалось связаться."),
    ("duplicate", "identity", "Known already.", "Уже известен."),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is written: of the export's leads so many meet it, of whom so many were won."""

    id: str
    points: int
    said: Said
    leads: int
    won: int


def rules_of(suggestion: Suggestion) -> tuple[tuple[Rule, ...], int]:
    """Return the rules, the heaviest first, and the threshold. Raises ValueError where there is no evidence."""
    learned, cut = suggestion.learned, suggestion.cut
    if learned is None or cut is None:
        raise ValueError("there is no evidence to write down")
    # 1. A threshold is at least 1: where negative points lead below it, the heaviest are said the other way round.
    points = [int(p) for p in learned.points]
    threshold = cut.threshold
    turned: set[int] = set()
    for n in sorted(range(len(points)), key=lambda n: (len(learned.rules[n]), points[n])):
        if threshold >= 1:
            break
        if points[n] < 0:
            turned.add(n)
            threshold -= points[n]
    # 2. Heaviest first.
    rules = []
    for place, n in enumerate(sorted(range(len(points)), key=lambda n: -abs(points[n])), start=1):
        name = suggestion.bins[learned.rules[n][0].field].field.column
        leads, won = suggestion.met_by[n]
        if n in turned:
            leads, won = suggestion.won + suggestion.lost - leads, suggestion.won - won
        worth = -points[n] if n in turned else points[n]
        words = said(learned.rules[n], suggestion.bins, opposite=n in turned)
        rules.append(Rule(_id(place, name), worth, words, leads, won))
    return tuple(rules), max(threshold, 1)


def document_of(suggestion: Suggestion, *, id: str = "suggested") -> dict[str, Any]:
    """Return the agreement as a tree; its rules are the suggestion's, the rest is a start to be talked over."""
    rules, threshold = rules_of(suggestion)
    return {
        "format": "baton.agreement/1",
        "id": id,
        "title": {"en": "A suggestion from past leads.", "ru": "Предложение по прошлым лидам."},
        "parties": [
            {"department": "marketing", "name": "Head of marketing"},
            {"department": "sales", "name": "Head of sales"},
        ],
        "fit": [
            {"id": rule.id, "points": rule.points, "when": rule.said.when, "en": rule.said.en, "ru": rule.said.ru}
            for rule in rules
        ],
        "threshold": threshold,
        "rejection_reasons": [{"code": c, "family": f, "en": en, "ru": ru} for c, f, en, ru in _REASONS],
        "sla": {"accept_within": "4h", "first_response_within": "24h", "attempts": 5},
    }


def yaml_of(suggestion: Suggestion, *, file: str, id: str = "suggested") -> str:
    """Return the agreement as YAML with what was measured as a comment; it is one that `propose` takes."""
    document = document_of(suggestion, id=id)
    body = yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=110)
    read_agreement(body.encode(), "yaml")
    return "\n".join([MARK, *(f"# {line}" if line else "#" for line in _told(suggestion, file)), body])


def _told(suggestion: Suggestion, file: str) -> list[str]:
    rules, ceiling, cut, learned = suggestion.rules, suggestion.ceiling, suggestion.cut, suggestion.learned
    assert cut is not None  # noqa: S101 - document_of has looked
    assert learned is not None  # noqa: S101
    scaled = [one.field for one in suggestion.bins if one.field.scale > 1]
    lines = [
        f"from {file}: {suggestion.won + suggestion.lost:,} leads with an outcome, {suggestion.won:,} of them won.",
        f"On leads not learned from: AUC {rules.auc:.3f} ({rules.low:.3f} to {rules.high:.3f}),"
        f" average precision {rules.average_precision:.3f};",
        f"a gradient-boosted model of the same columns reaches {ceiling.auc:.3f} and {ceiling.average_precision:.3f}.",
        f"At the threshold {cut.share:.1%} of the leads are handed over; {cut.precision:.1%} of them were won,"
        f" and {cut.recall:.1%} of all that were won are among them.",
        f"{learned.doubling:.1f} points double the odds.",
        "Rules read the answers of the form under the names of the export's columns.",
    ]
    lines += [f"{field.key} is {field.column} times {field.scale}, rounded down." for field in scaled]
    return lines


def _id(place: int, column: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", column.casefold()).strip("-")[:40]
    return f"r{place:02d}-{slug}" if slug else f"r{place:02d}"
