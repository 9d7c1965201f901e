"""How the fields of one CRM account read: the part of its configuration that the account's owner writes."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sales_feedback.money import DECIMALS


class Kind(StrEnum):
    HUBSPOT = "hubspot"
    PIPEDRIVE = "pipedrive"


class StageState(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


def _currency(code: str) -> str:
    if code not in DECIMALS:
        raise ValueError("not an ISO 4217 code")
    return code


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character is not text")
    return text


Plain = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Currency = Annotated[str, AfterValidator(_currency)]


class Mapping(BaseModel):
    """Where the lead id stands, which stages close a deal, and what stands in for what the CRM leaves out.

    HubSpot needs `pipelines` (pipeline id to stage id to open, won or lost; a stage that is not named is open).
    Pipedrive says won and lost by itself. Reasons go out as codes only: a CRM's text becomes the code that
    `lost_reasons` gives it, otherwise "other".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead_id_property: Plain = "baton_lead_id"
    account: Plain | None = None
    """HubSpot portal id or Pipedrive company id: when given, a delivery of another account is not taken."""
    currency: Currency | None = None
    """Currency of a deal for which the CRM names none."""
    pipelines: dict[Plain, dict[Plain, StageState]] = {
        "default": {"closedwon": StageState.WON, "closedlost": StageState.LOST}
    }
    lost_reasons: dict[Plain, Code] = {}
    product_property: Plain | None = None
    company_id_property: Plain | None = None
    """HubSpot: the deal property that holds the id of its company; Pipedrive says its organisation by itself."""

    @model_validator(mode="after")
    def _a_stage_means_one_thing(self) -> Self:
        if not any(state is StageState.WON for stages in self.pipelines.values() for state in stages.values()):
            raise ValueError("no stage of any pipeline is won")
        return self
