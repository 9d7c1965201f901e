"""The agreement: what both departments signed, read from its canonical bytes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from pydantic import ValidationError

from qualification.canonical import canonical_bytes, digest_of
from qualification.criteria import Condition, CriteriaError, check_condition, define_terms
from qualification.document import DocumentRefused, Flaw, Tree, pointer_of, read_document
from qualification.schema import AgreementForm, EngagementForm, RuleForm

RESERVED_IDS: Final = frozenset({"fit", "engagement", "cap"})
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Criterion:
    """A gate or a disqualifier."""

    id: str
    when: Condition


@dataclass(frozen=True, slots=True)
class FitRule:
    id: str
    when: Condition
    points: int


@dataclass(frozen=True, slots=True)
class EngagementRule:
    """Points for each touch of a kind (None: any) that meets the condition (None: always) inside the window."""

    id: str
    touch: str | None
    when: Condition | None
    points: int
    half_life_hours: int | None
    window_hours: int
    cap: int | None


# Named tuples, as a part of what every handed-over lead is told with: they hash in C.
class Reason(NamedTuple):
    code: str
    family: str


class Sla(NamedTuple):
    accept_within_seconds: int
    first_response_within_seconds: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """One agreement, every condition checked; `document` are the canonical bytes and `digest` their SHA-256."""

    id: str
    document: bytes
    digest: str
    gates: tuple[Criterion, ...]
    disqualifiers: tuple[Criterion, ...]
    fit: tuple[FitRule, ...]
    engagement: tuple[EngagementRule, ...]
    caps: Mapping[str, int]
    threshold: int
    reasons: tuple[Reason, ...]
    sla: Sla

    @property
    def longest_window_hours(self) -> int:
        return max((rule.window_hours for rule in self.engagement), default=0)


def read_agreement(raw: bytes, format: Literal["yaml", "json"]) -> Agreement:
    """Return the agreement that a person wrote; raises DocumentRefused with the place of everything that is wrong.

    Two documents that mean the same (YAML or JSON, keys in any order, values left out or given as their default)
    have the same canonical bytes.
    """
    tree = read_document(raw, format)
    if not isinstance(tree.value, dict):
        raise DocumentRefused([tree.flaw("", "must be an object with the keys of an agreement")])
    try:
        form = AgreementForm.model_validate(tree.value)
    except ValidationError as error:
        raise DocumentRefused([_flaw_of(detail, tree) for detail in error.errors(include_url=False)]) from None
    return _checked(form, tree)


def agreement_from_canonical(document: bytes) -> Agreement:
    """Return the agreement of stored canonical bytes; raises DocumentRefused where they are not what they claim."""
    agreement = read_agreement(document, "json")
    if agreement.document != document:
        raise DocumentRefused([Flaw(pointer="", detail="is not in canonical form")])
    return agreement


def _checked(form: AgreementForm, tree: Tree) -> Agreement:
    flaws: list[Flaw] = [tree.flaw(pointer, detail) for pointer, detail in _inconsistencies(form)]

    # 1. The glossary; later conditions may use its sound terms.
    terms, unsound = define_terms({term.term: term.definition for term in form.glossary})
    index = {term.term: i for i, term in enumerate(form.glossary)}
    for name, error in unsound:
        flaws.append(_criteria_flaw(tree, pointer_of("glossary", index[name], "definition"), error))

    # 2. Every condition, so that one answer shows all that is wrong.
    def condition(text: str, scope: Literal["lead", "touch"], *path: str | int) -> Condition:
        try:
            return check_condition(text, scope, terms=terms)
        except CriteriaError as error:
            names_unsound = any(f"'{name}'" in error.detail for name, _ in unsound)
            if not names_unsound:  # else it is said once, at the term
                flaws.append(_criteria_flaw(tree, pointer_of(*path), error))
            return Condition(scope=scope, expanded="false")

    agreement = Agreement(
        id=form.id,
        document=b"",
        digest="",
        gates=tuple(
            Criterion(id=g.id, when=condition(g.when, "lead", "gates", i, "when")) for i, g in enumerate(form.gates)
        ),
        disqualifiers=tuple(
            Criterion(id=d.id, when=condition(d.when, "lead", "disqualifiers", i, "when"))
            for i, d in enumerate(form.disqualifiers)
        ),
        fit=tuple(
            FitRule(id=f.id, when=condition(f.when, "lead", "fit", i, "when"), points=f.points)
            for i, f in enumerate(form.fit)
        ),
        engagement=tuple(
            EngagementRule(
                id=e.id,
                touch=None if e.touch == "any" else e.touch,
                when=None if e.when is None else condition(e.when, "touch", "engagement", i, "when"),
                points=e.points,
                half_life_hours=e.half_life_hours,
                window_hours=e.window_hours,
                cap=e.cap,
            )
            for i, e in enumerate(form.engagement)
        ),
        caps={
            group: limit
            for group, limit in (("fit", form.caps.fit), ("engagement", form.caps.engagement))
            if limit is not None
        },
        threshold=form.threshold,
        reasons=tuple(Reason(code=r.code, family=r.family) for r in form.rejection_reasons),
        sla=Sla(
            accept_within_seconds=_seconds(form.sla.accept_within),
            first_response_within_seconds=_seconds(form.sla.first_response_within),
            attempts=form.sla.attempts,
        ),
    )
    if flaws:
        raise DocumentRefused(flaws)
    document = canonical_bytes(form.model_dump(mode="json", exclude_defaults=True))
    return replace(agreement, document=document, digest=digest_of(document))


def _inconsistencies(form: AgreementForm) -> Iterator[tuple[str, str]]:
    if {party.department for party in form.parties} != {"marketing", "sales"}:
        yield pointer_of("parties"), "must name marketing and sales once each"
    seen: dict[str, str] = {}
    sections: tuple[tuple[str, Sequence[RuleForm]], ...] = (
        ("gates", form.gates),
        ("disqualifiers", form.disqualifiers),
        ("fit", form.fit),
        ("engagement", form.engagement),
    )
    for section, rules in sections:
        for i, rule in enumerate(rules):
            pointer = pointer_of(section, i, "id")
            if rule.id in RESERVED_IDS:
                yield pointer, f"'{rule.id}' is the name of a group; choose another id"
            if rule.id in seen:
                yield (
                    pointer,
                    f"the id '{rule.id}' is taken by {seen[rule.id]}; ids are unique in the whole agreement",
                )
            seen.setdefault(rule.id, pointer)
            if getattr(rule, "points", 1) == 0:
                yield pointer_of(section, i, "points"), "a rule of 0 points decides nothing; take it out"
            if isinstance(rule, EngagementForm) and rule.cap is not None and rule.cap < abs(rule.points):
                yield (
                    pointer_of(section, i, "cap"),
                    f"is less than the {abs(rule.points)} points of one touch",
                )
    for section, key, names in (
        ("glossary", "term", [term.term for term in form.glossary]),
        ("rejection_reasons", "code", [reason.code for reason in form.rejection_reasons]),
    ):
        for i, name in enumerate(names):
            if name in names[:i]:
                yield pointer_of(section, i, key), f"'{name}' is defined twice; keep one of them"
    if not form.fit and not form.engagement:
        yield pointer_of("fit"), "without fit and engagement rules no lead can reach the threshold"


def _criteria_flaw(tree: Tree, pointer: str, error: CriteriaError) -> Flaw:
    detail = (
        error.detail
        if (error.line, error.column) == (1, 1)
        else (f"{error.detail} (line {error.line}, column {error.column} of the expression)")
    )
    return tree.flaw(pointer, detail, line=error.line, column=error.column)


def _flaw_of(error: Any, tree: Tree) -> Flaw:
    """One sentence a person can act on; never the value that was refused."""
    path, kind = error["loc"], error["type"]
    if kind == "missing":
        return tree.flaw(pointer_of(*path[:-1]), f"the key '{path[-1]}' is missing")
    if kind == "extra_forbidden":
        return tree.flaw(pointer_of(*path), "this key is not known here; the published schema lists those that are")
    return tree.flaw(pointer_of(*path), str(error["msg"]).replace("Input should", "should"))


def _seconds(span: str) -> int:
    return int(span[:-1]) * _SECONDS[span[-1]]
