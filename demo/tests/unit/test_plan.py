from collections import Counter
from datetime import UTC, datetime

from baton_demo.month import META, make_month
from baton_demo.plan import plan_of

MONTH = make_month(until=datetime(2026, 11, 24, 18, 0, tzinfo=UTC))
FIRST = {s.person.number: s.origin for s in reversed(MONTH.submissions)}
PLANS = {person.number: plan_of(person, MONTH) for person in MONTH.people}
AGREED = {"wrong_size", "wrong_role", "no_need", "no_budget", "not_now", "wrong_data", "not_reached", "no_capacity"}
AGREED |= {"known_customer"}


def test_the_same_person_has_the_same_plan_each_time() -> None:
    assert all(plan_of(person, MONTH) == PLANS[person.number] for person in MONTH.people)


def test_every_reason_is_one_that_the_agreement_names() -> None:
    assert {plan.reason for plan in PLANS.values() if plan.reason} <= AGREED
    assert all(plan.reason for plan in PLANS.values() if plan.answer in ("reject", "recycle"))


def test_free_addresses_from_paid_social_are_mostly_rejected_as_unfit() -> None:
    free = [PLANS[p.number] for p in MONTH.people if p.kind == "free" and FIRST.get(p.number) is META]
    assert sum(plan.reason == "wrong_size" for plan in free) / len(free) > 0.7


def test_only_reached_customers_have_deals() -> None:
    dealt = [plan for plan in PLANS.values() if plan.deal]
    assert dealt
    assert all(plan.contacts[-1].reached and plan.answer == "accept" and not plan.reason for plan in dealt)


def test_deals_are_won_lost_and_left_open_in_three_crms() -> None:
    deals = [plan.deal for plan in PLANS.values() if plan.deal]
    assert set(Counter(deal.crm for deal in deals)) == {"hubspot", "pipedrive", "rest"}
    assert set(Counter(deal.outcome for deal in deals)) == {"won", "lost", "open"}
    assert all(deal.amount_minor > 0 for deal in deals)
    assert all(bool(deal.reason) == (deal.outcome == "lost") for deal in deals)
