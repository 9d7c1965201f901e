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


class DisqualifierForm(Words):
    """A condition that takes a lead out, for a stated reason."""

    id: Id
    when: Expression


class FitForm(Words):
    """Points for what the lead is."""

    id: Id
    when: Expression
    points: Points


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


RuleForm = GateForm | DisqualifierForm | FitForm | EngagementForm


class CapsForm(_Form):
    """The most that a group may give in all."""

    fit: Annotated[int, Field(ge=1, le=100_000)] | None = None
    engagement: Annotated[int, Field(ge=1, le=100_000)] | None = None


class ReasonForm(Words):
    """A reason that sales may give for declining a lead."""

    code: Code
    family: Family


class SlaForm(_Form):
    """What sales promises for each lead handed over."""

    accept_within: Span
    first_response_within: Span
    attempts: Annotated[int, Field(ge=1, le=50)]


class PartyForm(_Form):
    """One of the two who sign."""

    department: Literal["marketing", "sales"]
    name: Sentence


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
    threshold: Annotated[int, Field(ge=1, le=100_000)]
    rejection_reasons: Annotated[list[ReasonForm], Field(min_length=1, max_length=100)]
    sla: SlaForm


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an agreement document."""
    schema = AgreementForm.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:baton:schema:agreement:1",
        **schema,
        "title": "Baton agreement",
    }
