from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from baton.lead.v1.lead_pb2 import LeadFeatures
from baton.qualification.v1 import qualification_pb2 as pb
from baton_agreement.agreement import read_agreement
from baton_agreement.features import profile_of
from baton_agreement.scoring import EVALUATOR_VERSION, Judge, Outcome, Stamp, decide, snapshot_of
from qualification.cycle import Lead
from qualification.events import lead_qualified, lead_scored
from qualification.store import NewDecision

EXAMPLE = read_agreement((Path(__file__).parents[4] / "libs/agreement/examples/agreement.yaml").read_bytes(), "yaml")
JUDGE = Judge(EXAMPLE)
FEATURES = {"has_email": True, "email_kind": "business", "country": "DE", "employees": 250, "job_level": "director"}
TIMES = [datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 10, 0, 0, 5, tzinfo=UTC)]
STAMPS = [Stamp(EXAMPLE.id, version, EXAMPLE.digest, version + 4) for version in (3, 4)]


def decided(at: datetime, stamp: Stamp) -> NewDecision:
    snapshot = snapshot_of(profile_of(FEATURES), [], agreement=EXAMPLE, at=at)
    decision = decide("lead-1", snapshot, cycle=2, judge=JUDGE, stamp=stamp, at=at)
    assert decision.outcome is Outcome.QUALIFIED
    return NewDecision(id="decision-1", sequence=5, kind="decision", decision=decision)


def told(at: datetime, stamp: Stamp) -> tuple[Timestamp, pb.AgreementStamp, list[pb.Contribution]]:
    moment = Timestamp()
    moment.FromDatetime(at)
    under = pb.AgreementStamp(
        agreement_id=stamp.agreement_id,
        version=stamp.version,
        digest=stamp.digest,
        activation_seq=stamp.activation_seq,
    )
    found = decided(at, stamp).decision.verdict.contributions
    parts = [
        pb.Contribution(rule_id=c.rule_id, group=c.group, points=c.points, occurrences=c.occurrences) for c in found
    ]
    return moment, under, parts


def test_a_decision_is_told_whole_under_every_version_and_time() -> None:
    for at, stamp in [(at, stamp) for at in TIMES for stamp in STAMPS]:
        new = decided(at, stamp)
        moment, under, parts = told(at, stamp)
        plain = pb.LeadScored(
            decision_id="decision-1",
            lead_id="lead-1",
            sequence=5,
            evaluated_at=moment,
            kind=pb.DECISION_KIND_DECISION,
            agreement=under,
            snapshot_digest=new.decision.snapshot_digest,
            evaluator_version=EVALUATOR_VERSION,
            cycle=2,
            score=new.decision.score,
            threshold=EXAMPLE.threshold,
            outcome=pb.OUTCOME_QUALIFIED,
            contributions=parts,
        )
        body = lead_scored(new).body
        assert body == plain
        assert body is not None
        assert body.SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True)


def test_a_handover_is_told_whole_under_every_version_and_time() -> None:
    for at, stamp in [(at, stamp) for at in TIMES for stamp in STAMPS]:
        new = decided(at, stamp)
        moment, under, parts = told(at, stamp)
        plain = pb.LeadQualified(
            lead_id="lead-1",
            sequence=6,
            occurred_at=moment,
            cycle=2,
            decision_id="decision-1",
            agreement=under,
            score=new.decision.score,
            threshold=EXAMPLE.threshold,
            contributions=parts,
            features=LeadFeatures(**FEATURES),  # type: ignore[arg-type]  # made from this message
            sla=pb.SlaTerms(
                accept_within_seconds=EXAMPLE.sla.accept_within_seconds,
                first_response_within_seconds=EXAMPLE.sla.first_response_within_seconds,
                attempts=EXAMPLE.sla.attempts,
            ),
            rejection_reasons=[pb.RejectionReason(code=r.code, family=r.family) for r in EXAMPLE.reasons],
        )
        made = lead_qualified(new, lead=Lead("l", sequence=6), features=FEATURES, agreement=EXAMPLE)
        assert made.body == plain
        assert made.body is not None
        assert made.body.SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True)
        # uuid5 of "lead-1/2" in the service's own namespace: consumers know a repeat by it, so it never changes.
        assert made.id == "1e169c00-10cf-58f0-a1bf-2edc0099086c"
