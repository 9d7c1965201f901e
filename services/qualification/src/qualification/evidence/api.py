"""The HTTP edge of the evidence for and against rules."""

import json
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from baton_evidence.figures import Interval, share
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from qualification import store
from qualification.api.answers import app_of, not_found, only
from qualification.evidence import store as evidence_store
from qualification.evidence.rules import Arm, RuleEvidence, Verdict, evidence_of

router = APIRouter()


class Part(BaseModel):
    """A part of a whole with its 95 % interval (Wilson)."""

    value: float
    low: float
    high: float


class ArmShown(BaseModel):
    """Leads on one side: with the rule, or without it."""

    handed_over: int
    accepted: int
    rejected: int
    accept_rate: Part | None = Field(description="Of those that were accepted or rejected; null for none.")
    won: int
    lost: int
    win_rate: Part | None = Field(description="Of those whose deal was closed; null for none.")


class OddsShown(BaseModel):
    """How many times higher the odds of a rejection are with the rule, each rep compared with itself."""

    ratio: float
    low: float
    high: float
    reps: int = Field(description="Reps who answered leads of both sides.")


class ReasonShown(BaseModel):
    """Rejections of leads with the rule, for a reason that speaks against it."""

    reason: str
    leads: int


class RuleShown(BaseModel):
    """What speaks for and against one rule."""

    rule: str
    points: int
    verdict: Verdict = Field(
        description="speaks_against, supports, or no_evidence: also with fewer than 30 answers on a side."
    )
    met: ArmShown
    not_met: ArmShown
    rejection_odds: OddsShown | None
    reasons: list[ReasonShown]


class EvidenceShown(BaseModel):
    """What sales made of the leads that one version handed over."""

    as_of: datetime
    agreement_id: str
    version: int
    digest: str
    all: ArmShown
    rules: list[RuleShown]


@router.get(
    "/v1/evidence", operation_id="get_evidence", summary="What speaks for and against each rule", tags=["reports"],
    responses=only(404, 422),
)  # fmt: skip
async def get_evidence(
    request: Request,
    agreement: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="Digest of the version; without it the one in force.")
    ] = None,
    caller: Caller = requires("reports:read"),
) -> EvidenceShown:
    """Compare, for each rule of fit and engagement, the leads that met it with those that did not.

    Only leads that were handed over have an answer: a rule is compared among those, and a rule that all of them met
    cannot be. Each rep is compared with itself, so that a harsh one does not speak for all.
    """
    app = app_of(request)
    async with app.db.begin() as tx:
        await store.read_one_snapshot(tx)
        if agreement is None:
            newest = await store.newest_activation(tx)
            if newest is None:
                raise Problem(404, "No agreement is in force", detail="Propose one and let both departments sign it.")
            agreement = newest.digest
        row = await store.agreement(tx, agreement)
        if row is None:
            raise not_found("agreement")
        counts = await evidence_store.handed_over(tx, agreement)
    document = json.loads(row.document)
    rules = {rule["id"]: rule["points"] for rule in (*document.get("fit", ()), *document.get("engagement", ()))}
    points_at = {reason["code"]: reason.get("points_at", ()) for reason in document["rejection_reasons"]}
    # A rule that does not exist is met by none: the other side is everything.
    whole = evidence_of({"": 1}, counts, points_at={})[0].not_met
    return EvidenceShown(
        as_of=app.clock.now().astimezone(UTC),
        agreement_id=row.agreement_id,
        version=row.version,
        digest=row.digest,
        all=_arm(whole),
        rules=[_rule(found) for found in evidence_of(rules, counts, points_at=points_at)],
    )


def _rule(found: RuleEvidence) -> RuleShown:
    odds = None
    if found.declined_more is not None:
        ratio = found.declined_more.odds_ratio
        odds = OddsShown(ratio=ratio.value, low=ratio.low, high=ratio.high, reps=found.declined_more.reps)
    return RuleShown(
        rule=found.rule,
        points=found.points,
        verdict=found.verdict,
        met=_arm(found.met),
        not_met=_arm(found.not_met),
        rejection_odds=odds,
        reasons=[ReasonShown(reason=reason, leads=leads) for reason, leads in sorted(found.reasons.items())],
    )


def _arm(arm: Arm) -> ArmShown:
    return ArmShown(
        handed_over=arm.handed_over,
        accepted=arm.accepted,
        rejected=arm.rejected,
        accept_rate=_rate(arm.accepted, arm.accepted + arm.rejected),
        won=arm.won,
        lost=arm.lost,
        win_rate=_rate(arm.won, arm.won + arm.lost),
    )


def _rate(part: int, whole: int) -> Part | None:
    if not whole:
        return None
    found: Interval = share(part, whole)
    return Part(value=found.value, low=found.low, high=found.high)
