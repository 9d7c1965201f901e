from collections import Counter
from datetime import UTC, datetime, timedelta

from baton_demo.month import DAYS, make_month

UNTIL = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
MONTH = make_month(until=UNTIL)


def test_the_same_seed_and_end_make_the_same_month() -> None:
    assert make_month(until=UNTIL) == MONTH


def test_another_seed_makes_another_month() -> None:
    assert make_month(seed=8, until=UNTIL).submissions != MONTH.submissions


def test_a_month_holds_enough_leads_through_seven_doors() -> None:
    real = [s for s in MONTH.submissions if not s.oddity]
    assert len({s.person.number for s in real}) >= 320
    assert len({s.source for s in real}) == 7


def test_everything_happened_in_the_thirty_days_before_the_end() -> None:
    assert all(UNTIL - timedelta(days=DAYS) <= s.at < UNTIL for s in MONTH.submissions)


def test_no_two_people_share_an_address_or_a_number() -> None:
    emails = Counter(p.email for p in MONTH.people)
    phones = Counter(p.phone for p in MONTH.people if p.phone)
    assert max(emails.values()) == 1
    assert max(phones.values()) == 1


def test_every_delivery_has_an_id_of_its_own_but_the_repeated_ones() -> None:
    ids = Counter(s.id for s in MONTH.submissions)
    repeated = {s.id for s in MONTH.submissions if s.oddity == "repeated"}
    assert {id for id, count in ids.items() if count > 1} == repeated
    assert len(repeated) == 6


def test_people_write_on_weekdays_rather_than_on_sundays() -> None:
    days = Counter(s.at.weekday() for s in MONTH.submissions)
    assert min(days[d] for d in range(4)) > 2 * max(days[5], days[6])


def test_many_people_come_more_than_once_and_in_order() -> None:
    chains = MONTH.chains()
    assert sum(len(chain) > 1 for chain in chains) >= 50
    assert all(list(chain) == sorted(chain, key=lambda s: s.at) for chain in chains)


def test_every_kind_of_oddity_occurs() -> None:
    assert Counter(s.oddity for s in MONTH.submissions if s.oddity) == {
        "repeated": 6,
        "test": 1,
        "bad_signature": 1,
        "broken": 1,
    }


def test_all_four_languages_occur_with_addresses_in_ascii() -> None:
    assert {p.language for p in MONTH.people} == {"de", "en", "ru", "es"}
    assert all(p.email.isascii() for p in MONTH.people)
