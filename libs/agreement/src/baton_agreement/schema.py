"""The form of an agreement document, for people who write one: the published JSON Schema comes from here."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Lower case letters, digits and _.")]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Lower case letters, digits, _ and -.")]
Sentence = Annotated[str, Field(min_length=1, max_length=500)]
Expression = Annotated[str, Field(min_length=1, max_length=2_000, description="A CEL expression.")]
Span = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}(m|h|d)$", description="Minutes, hours or days: 30m, 4h, 2d.")]
Points = Annotated[int, Field(ge=-1_000, le=1_000, description="Whole points, not 0.")]
Family = Literal["fit", "intent", "timing", "data", "reach", "capacity", "identity"]
TouchKind = Literal["any", "form", "ad_click", "visit", "email", "call", "event", "chat"]


Department = Literal["marketing", "sales"]
Owner = Annotated[Department, Field(description="The one department that answers for it.")]
Lines = Annotated[list[Id], Field(max_length=50, description="Only for these lines; none: for every lead.")]
Percent = Annotated[int, Field(ge=0, le=100)]
Limit = Annotated[int, Field(ge=1, le=100_000)]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", description="2026-03-31")]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="A month: 2026-03.")]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Cell = Annotated[str, Field(pattern=r"^[A-D][1-4]$", description="Fit A (best) to D, engagement 1 (best) to 4.")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217.")]
Money = Annotated[int, Field(ge=1, le=10**14, description="Minor units of the currency.")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Words(_Form):
    """One sentence in English and in Russian."""

    en: Sentence
    ru: Sentence


class TermForm(Words):
    """A word that both departments use in the same sense, as a definition that runs."""

    term: Code
    definition: Expression


class GateForm(Words):
    """A condition without which a lead is not handed over, whatever its score."""

    id: Id
    when: Expression
    lines: Lines = []


class DisqualifierForm(Words):
    """A condition that takes a lead out, for a stated reason."""

    id: Id
    when: Expression
    lines: Lines = []


class FitForm(Words):
    """Points for what the lead is."""

    id: Id
    when: Expression
    points: Points
    lines: Lines = []


class EngagementForm(Words):
    """Points for what the lead did: each touch of that kind inside the window that meets the condition counts."""

    id: Id
    touch: TouchKind
    when: Expression | None = None
    points: Points
    half_life_hours: Annotated[int, Field(ge=1, le=8_784)] | None = None
    window_hours: Annotated[int, Field(ge=1, le=8_784)]
    cap: Annotated[int, Field(ge=1, le=100_000, description="The most this rule may give (or take) in all.")] | None = (
        None
    )
    lines: Lines = []


RuleForm = GateForm | DisqualifierForm | FitForm | EngagementForm


class CapsForm(_Form):
    """The most that a group may give in all."""

    fit: Annotated[int, Field(ge=1, le=100_000)] | None = None
    engagement: Annotated[int, Field(ge=1, le=100_000)] | None = None


class ReasonForm(Words):
    """A reason that sales may give for declining a lead."""

    code: Code
    family: Family
    points_at: Annotated[list[Id], Field(max_length=50, description="Rules that the reason speaks against.")] = []


class SlaForm(_Form):
    """What sales promises for each lead handed over."""

    accept_within: Span
    first_response_within: Span
    attempts: Annotated[int, Field(ge=1, le=50)]


class PartyForm(_Form):
    """One of the two who sign."""

    department: Department
    name: Sentence


class MatrixForm(_Form):
    """Fit by engagement: three floors for fit (A, B, C; below: D), three for engagement (1, 2, 3; below: 4)."""

    fit: Annotated[list[int], Field(min_length=3, max_length=3, description="Floors of A, B and C, falling.")]
    engagement: Annotated[list[int], Field(min_length=3, max_length=3, description="Floors of 1, 2 and 3, falling.")]
    hand_over: Annotated[list[Cell], Field(min_length=1, max_length=16, description="Cells that go to sales.")]


class LineForm(Words):
    """A product line or segment with a threshold or a matrix of its own; the first whose condition holds governs."""

    id: Id
    when: Expression
    threshold: Limit | None = None
    matrix: MatrixForm | None = None


class StageForm(Words):
    """A stage of the lifecycle or of the funnel, and the one department that answers for it."""

    id: Id
    owner: Owner


class RouteForm(Words):
    """Where a lead goes; the first whose condition holds. Without a condition: everything that is left."""

    id: Id
    when: Expression | None = None
    to: Id


class ClockForm(Words):
    """A measured time: what starts it, what ends it, how long it may take in service hours."""

    id: Id
    owner: Owner
    starts: Code
    ends: Code
    within: Span
    remind_after: Span | None = None
    fixed: bool = False


class DutyForm(Words):
    """What a department has to do. A fixed duty is touched by no automatic change and by no amendment of one."""

    id: Id
    owner: Owner
    stage: Id | None = None
    within: Span | None = None
    attempts: Annotated[int, Field(ge=1, le=50)] | None = None
    fixed: bool = False


class MarketingForm(_Form):
    """What marketing promises."""

    leads_per_week: Limit | None = None
    steadiness_percent: (
        Annotated[Percent, Field(description="A week is at least this part of the promised.")] | None
    ) = None
    completeness_percent: Annotated[Percent, Field(description="Leads with all agreed fields, at least.")] | None = None
    accept_percent: Annotated[Percent, Field(description="Leads that sales accepts, at least.")] | None = None


class GoalForm(Words):
    """A common goal of both departments."""

    id: Id
    measure: Literal["revenue", "deals", "new_customers", "average_profit", "cost_of_selling"]
    target: Annotated[int, Field(ge=1, le=10**14, description="A count, or minor units of the currency.")]
    currency: Currency | None = None
    until: Day


class PlanForm(_Form):
    """Deals to win in a month; by product, segment and rep where wanted."""

    month: Month
    product: Label | None = None
    segment: Label | None = None
    rep: Annotated[str, Field(min_length=1, max_length=100, description="The rep's id, no name.")] | None = None
    deals: Annotated[int, Field(ge=0, le=1_000_000)]


class DecisionRuleForm(Words):
    """Who must hear of a lead or a deal, and whose approval it needs."""

    id: Id
    about: Literal["lead", "deal"]
    when: Annotated[Expression, Field(description="A condition on the lead.")] | None = None
    amount_from: Annotated[Money, Field(description="Deals from this amount on, in minor units.")] | None = None
    currency: Currency | None = None
    notify: Annotated[list[Id], Field(max_length=20)] = []
    approval: Annotated[list[Id], Field(max_length=20)] = []


class ExplorationForm(_Form):
    """The blind sample below the threshold."""

    share_percent: Annotated[int, Field(ge=1, le=20)]
    per_rep_and_week: Annotated[int, Field(ge=1, le=50)]


class EnvelopeForm(_Form):
    """How far the active version may move by itself; each limit is signed."""

    points_step: Annotated[int, Field(ge=0, le=100, description="The most one rule's points may move in a step.")]
    threshold_step: Annotated[int, Field(ge=0, le=100, description="The most the threshold may move in a step.")]
    minimum_sample: Annotated[int, Field(ge=30, le=1_000_000, description="Closed outcomes behind a step, at least.")]
    leads_per_week_floor: Annotated[int, Field(ge=1, le=100_000, description="No step may lead below this.")]


class AgreementForm(_Form):
    """The agreement of marketing and sales on what a good lead is and what happens to it."""

    format: Literal["baton.agreement/1"]
    id: Id
    title: Words
    parties: Annotated[list[PartyForm], Field(min_length=2, max_length=2)]
    glossary: Annotated[list[TermForm], Field(max_length=100)] = []
    gates: Annotated[list[GateForm], Field(max_length=50)] = []
    disqualifiers: Annotated[list[DisqualifierForm], Field(max_length=50)] = []
    fit: Annotated[list[FitForm], Field(max_length=200)] = []
    engagement: Annotated[list[EngagementForm], Field(max_length=200)] = []
    caps: CapsForm = CapsForm()
    threshold: Annotated[Limit, Field(description="Either a threshold or a matrix.")] | None = None
    matrix: MatrixForm | None = None
    lines: Annotated[list[LineForm], Field(max_length=50)] = []
    rejection_reasons: Annotated[list[ReasonForm], Field(min_length=1, max_length=100)]
    sla: SlaForm
    lifecycle: Annotated[list[StageForm], Field(max_length=30)] = []
    stages: Annotated[list[StageForm], Field(max_length=30)] = []
    routing: Annotated[list[RouteForm], Field(max_length=100)] = []
    clocks: Annotated[list[ClockForm], Field(max_length=50)] = []
    duties: Annotated[list[DutyForm], Field(max_length=100)] = []
    marketing: MarketingForm | None = None
    goals: Annotated[list[GoalForm], Field(max_length=50)] = []
    plan: Annotated[list[PlanForm], Field(max_length=1_000)] = []
    decision_rules: Annotated[list[DecisionRuleForm], Field(max_length=50)] = []
    review_on: Day | None = None
    liaison: Annotated[Sentence, Field(description="The role that hears disputes, not a person's name.")] | None = None
    exploration: ExplorationForm | None = None
    envelope: EnvelopeForm | None = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an agreement document."""
    schema = AgreementForm.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:baton:schema:agreement:1",
        **schema,
        "title": "Baton agreement",
    }
