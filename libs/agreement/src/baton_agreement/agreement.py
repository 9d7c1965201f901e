"""The agreement: what both departments signed, read from its canonical bytes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from pydantic import ValidationError

from baton_agreement.canonical import canonical_bytes, digest_of
from baton_agreement.criteria import Condition, CriteriaError, check_condition, define_terms
from baton_agreement.document import DocumentRefused, Flaw, Tree, pointer_of, read_document
from baton_agreement.schema import AgreementForm, EngagementForm, MatrixForm, RuleForm

RESERVED_IDS: Final = frozenset({"fit", "engagement", "cap"})
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Criterion:
    """A gate or a disqualifier."""

    id: str
    when: Condition
    lines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FitRule:
    id: str
    when: Condition
    points: int
    lines: frozenset[str] = frozenset()


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
    lines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Matrix:
    """Fit A to D by engagement 1 to 4: three falling floors each, and the cells that are handed over."""

    fit: tuple[int, ...]
    engagement: tuple[int, ...]
    hand_over: frozenset[str]

    def cell(self, fit: int, engagement: int) -> str:
        """Return the cell of the two sums (each after its caps): A1 is the best, D4 the last."""
        row = next((i for i, floor in enumerate(self.fit) if fit >= floor), 3)
        column = next((i for i, floor in enumerate(self.engagement) if engagement >= floor), 3)
        return f"{'ABCD'[row]}{column + 1}"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a lead of a line must reach: a matrix, or else the threshold. The agreement's own bar has no line."""

    line: str
    when: Condition | None
    threshold: int
    matrix: Matrix | None


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
    matrix: Matrix | None = None
    lines: tuple[Bar, ...] = ()

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
            Criterion(id=g.id, when=condition(g.when, "lead", "gates", i, "when"), lines=frozenset(g.lines))
            for i, g in enumerate(form.gates)
        ),
        disqualifiers=tuple(
            Criterion(id=d.id, when=condition(d.when, "lead", "disqualifiers", i, "when"), lines=frozenset(d.lines))
            for i, d in enumerate(form.disqualifiers)
        ),
        fit=tuple(
            FitRule(
                id=f.id, when=condition(f.when, "lead", "fit", i, "when"), points=f.points, lines=frozenset(f.lines)
            )
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
                lines=frozenset(e.lines),
            )
            for i, e in enumerate(form.engagement)
        ),
        caps={
            group: limit
            for group, limit in (("fit", form.caps.fit), ("engagement", form.caps.engagement))
            if limit is not None
        },
        threshold=form.threshold or 0,
        matrix=_matrix(form.matrix),
        lines=tuple(
            Bar(
                line=line.id,
                when=condition(line.when, "lead", "lines", i, "when"),
                threshold=line.threshold or 0,
                matrix=_matrix(line.matrix),
            )
            for i, line in enumerate(form.lines)
        ),
        reasons=tuple(Reason(code=r.code, family=r.family) for r in form.rejection_reasons),
        sla=Sla(
            accept_within_seconds=_seconds(form.sla.accept_within),
            first_response_within_seconds=_seconds(form.sla.first_response_within),
            attempts=form.sla.attempts,
        ),
    )
    # 3. Conditions that other services run, checked here so that nothing unsound is signed.
    for i, route in enumerate(form.routing):
        if route.when is not None:
            condition(route.when, "lead", "routing", i, "when")
    for i, rule in enumerate(form.decision_rules):
        if rule.when is not None:
            condition(rule.when, "lead", "decision_rules", i, "when")
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
    yield from _unsound_bars(form)
    yield from _unsound_duties(form)
    if not form.fit and not form.engagement:
        yield pointer_of("fit"), "without fit and engagement rules no lead can reach the threshold"


def _unsound_bars(form: AgreementForm) -> Iterator[tuple[str, str]]:
    bars: list[tuple[str, int | None, MatrixForm | None]] = [("", form.threshold, form.matrix)]
    bars += [(pointer_of("lines", i), line.threshold, line.matrix) for i, line in enumerate(form.lines)]
    for pointer, threshold, matrix in bars:
        if (threshold is None) == (matrix is None):
            yield pointer, "needs either a threshold or a matrix, and not both"
        if matrix is None:
            continue
        for axis, floors in (("fit", matrix.fit), ("engagement", matrix.engagement)):
            if not floors[0] > floors[1] > floors[2]:
                yield f"{pointer}/matrix/{axis}", "must fall from the best floor to the last"
        if len(set(matrix.hand_over)) < len(matrix.hand_over):
            yield f"{pointer}/matrix/hand_over", "names a cell twice; keep one of them"
    known = {line.id for line in form.lines}
    sections: tuple[tuple[str, Sequence[RuleForm]], ...] = (
        ("gates", form.gates),
        ("disqualifiers", form.disqualifiers),
        ("fit", form.fit),
        ("engagement", form.engagement),
    )
    for section, rules in sections:
        for i, rule in enumerate(rules):
            for j, line in enumerate(rule.lines):
                if line not in known:
                    yield pointer_of(section, i, "lines", j), f"there is no line '{line}'; add it or take it out"
                elif line in rule.lines[:j]:
                    yield pointer_of(section, i, "lines", j), f"the line '{line}' stands twice; keep one of them"


def _unsound_duties(form: AgreementForm) -> Iterator[tuple[str, str]]:
    stages = {stage.id for stage in (*form.stages, *form.lifecycle)}
    scored: list[RuleForm] = [*form.gates, *form.disqualifiers, *form.fit, *form.engagement]
    rules = {rule.id for rule in scored}
    for section in ("lines", "lifecycle", "stages", "routing", "clocks", "duties", "goals", "decision_rules"):
        ids: list[str] = [item.id for item in getattr(form, section)]
        for i, name in enumerate(ids):
            if name in ids[:i]:
                yield pointer_of(section, i, "id"), f"'{name}' is defined twice; keep one of them, with one owner"
    for i, duty in enumerate(form.duties):
        if duty.stage is not None and duty.stage not in stages:
            yield pointer_of("duties", i, "stage"), f"there is no stage '{duty.stage}'; name one of lifecycle or stages"
    for i, reason in enumerate(form.rejection_reasons):
        for j, name in enumerate(reason.points_at):
            if name not in rules:
                yield (
                    pointer_of("rejection_reasons", i, "points_at", j),
                    f"there is no rule '{name}'; name one or take it out",
                )
    for i, route in enumerate(form.routing[:-1]):
        if route.when is None:
            yield pointer_of("routing", i), "takes every lead, so that no later route is reached; move it to the end"
    for i, clock in enumerate(form.clocks):
        if clock.remind_after is not None and _seconds(clock.remind_after) >= _seconds(clock.within):
            yield pointer_of("clocks", i, "remind_after"), "must be before the time is up"
    for i, goal in enumerate(form.goals):
        counted = goal.measure in ("deals", "new_customers")
        if counted != (goal.currency is None):
            yield pointer_of("goals", i), "a count has no currency, and an amount needs one"
        if not _is_date(goal.until):
            yield pointer_of("goals", i, "until"), "is not a day of the calendar"
    if form.review_on is not None and not _is_date(form.review_on):
        yield pointer_of("review_on"), "is not a day of the calendar"
    for i, rule in enumerate(form.decision_rules):
        if not rule.notify and not rule.approval:
            yield pointer_of("decision_rules", i), "says neither who must hear (notify) nor who approves (approval)"
        if (rule.amount_from is None) != (rule.currency is None):
            yield pointer_of("decision_rules", i), "amount_from and currency go together"
        if rule.about == "lead" and rule.amount_from is not None:
            yield pointer_of("decision_rules", i, "amount_from"), "a lead has no amount; write about: deal"
    seen: dict[tuple[str | None, ...], int] = {}
    for i, row in enumerate(form.plan):
        first = seen.setdefault((row.month, row.product, row.segment, row.rep), i)
        if first != i:
            yield pointer_of("plan", i), f"plans what row {first + 1} plans already; keep one of them"


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _matrix(form: MatrixForm | None) -> Matrix | None:
    if form is None:
        return None
    return Matrix(fit=tuple(form.fit), engagement=tuple(form.engagement), hand_over=frozenset(form.hand_over))


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
    if path and path[-1] == "owner":
        if kind == "missing":
            return tree.flaw(pointer_of(*path[:-1]), "has no owner; write owner: marketing or owner: sales")
        if isinstance(error["input"], list) and len(error["input"]) > 1:
            return tree.flaw(pointer_of(*path), "has more than one owner; keep the one department that answers for it")
        return tree.flaw(pointer_of(*path), "has no owner; write marketing or sales")
    if kind == "missing":
        return tree.flaw(pointer_of(*path[:-1]), f"the key '{path[-1]}' is missing")
    if kind == "extra_forbidden":
        return tree.flaw(pointer_of(*path), "this key is not known here; the published schema lists those that are")
    return tree.flaw(pointer_of(*path), str(error["msg"]).replace("Input should", "should"))


def _seconds(span: str) -> int:
    return int(span[:-1]) * _SECONDS[span[-1]]
