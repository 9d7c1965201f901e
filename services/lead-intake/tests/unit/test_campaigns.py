"""Which campaign a touch belongs to: one answer for every touch, whatever campaigns there are."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_intake import normalise
from lead_intake.campaigns import sheet
from lead_intake.campaigns.campaign import Campaign, kept, problems, slug
from lead_intake.campaigns.matching import NETWORKS, BadKey, Campaigns, Claim, Mark, key_of, mark_of, rivals
from lead_intake.delivery import Inquiry
from lead_intake.touches import origin_of

AT = datetime(2026, 3, 10, 9, tzinfo=UTC)
IDS = st.sampled_from(["", "7", "23841", "ad.id:1/2"])
DAYS = st.dates(date(2026, 1, 1), date(2026, 12, 31))


def mark(**told: str) -> Mark:
    names = ("network", "source_id", "campaign_id", "adgroup_id", "ad_id", "form_id", "utm")
    return Mark(*(told.get(name, "") for name in names))


@st.composite
def marks(draw: st.DrawFn) -> Mark:
    return mark_of(
        provider=draw(st.sampled_from(["generic", "google_ads", "meta", "typeform"])),
        source_id=draw(st.sampled_from(["form", "site"])),
        utm_source=draw(st.sampled_from(["", "google", "Instagram", "news"])),
        utm_campaign=normalise.campaign_text(draw(st.text(max_size=120))),
        click_kinds=draw(st.sampled_from([(), ("gclid",), ("fbclid",)])),
        campaign_id=draw(IDS),
        adgroup_id=draw(IDS),
        ad_id=draw(IDS),
        form_id=draw(IDS),
    )


@given(one=marks())
def test_whatever_stands_in_the_worklist_can_be_assigned_and_is_matched_then(one: Mark) -> None:
    if one.key:
        assert key_of(one.key) == one.key
        assert one.key in list(one.carried()), "or a touch would stay in the worklist for ever"
        assert Campaigns(1, [Claim(one.key, "a")]).place(one, AT).campaign == "a"


@given(text=st.text(max_size=150) | st.from_regex(r"(utm|ad_id|form_id):[a-z*]{0,8}/?.{0,9}", fullmatch=True))
def test_a_key_has_one_form(text: str) -> None:
    try:
        once = key_of(text)
    except BadKey:
        return
    assert key_of(once) == once


@pytest.mark.parametrize(
    ("text", "stands_for"),
    [
        ("utm:Spring  Sale ", "utm:spring sale"),
        ("campaign_id:google/20481234567", "campaign_id:google/20481234567"),
        ("ad_id:123", "ad_id:*/123"),
        ("ad_id:*/a/b", "ad_id:*/a/b"),
        ("form_id:demo-form/contact", "form_id:demo-form/contact"),
    ],
)
def test_a_key_is_read_as_people_write_it(text: str, stands_for: str) -> None:
    assert key_of(text) == stands_for


@pytest.mark.parametrize("text", ["", "spring", "utm:", "utm:anna@firm.de", "ad_id:aol/1", "ad_id:google/", "x:1"])
def test_what_is_no_key_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(BadKey, match=r".+"):
        key_of(text)


def test_the_ids_of_the_ad_decide_before_the_link_and_the_link_before_the_form() -> None:
    one = mark(network="google", source_id="f", campaign_id="1", adgroup_id="2", ad_id="3", form_id="4", utm="sale")
    keys = [
        "ad_id:google/3", "ad_id:*/3", "adgroup_id:google/2", "adgroup_id:*/2", "campaign_id:google/1",
        "campaign_id:*/1", "utm:sale", "form_id:f/4", "form_id:*/4",
    ]  # fmt: skip
    for n in range(len(keys)):
        claims = [Claim(key, f"c{place}") for place, key in enumerate(keys) if place >= n]
        assert Campaigns(1, claims).place(one, AT).by == keys[n]
    assert Campaigns(1, [Claim("ad_id:meta/3", "other")]).place(one, AT).campaign == "", "another network's ad"


def test_the_network_is_the_providers_then_the_clicks_then_the_links() -> None:
    def network(provider: str, **fields: str) -> str:
        return origin_of(Inquiry("", {"ad_id": "1", **fields})).mark(provider=provider, source_id="s").network

    assert network("meta", gclid="x") == "meta"
    assert network("generic", page_url="/?fbclid=x&utm_source=google") == "meta"
    assert network("generic", utm_source="Google") == "google"
    assert network("generic", utm_source="newsletter") == ""


@given(starts=st.lists(DAYS, min_size=2, max_size=5, unique=True), day=DAYS)
def test_of_campaigns_that_share_a_link_the_one_that_had_begun_last_is_meant(starts: list[date], day: date) -> None:
    ordered = sorted(starts)
    ends = [start - timedelta(days=1) for start in ordered[1:]] + [date(2027, 1, 1)]
    claims = [Claim("utm:sale", f"c{n}", s, e) for n, (s, e) in enumerate(zip(ordered, ends, strict=True))]
    assert not rivals(claims, [])
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    placed = Campaigns(1, reversed(claims)).place(mark(utm="sale"), at).campaign
    assert placed == f"c{max(0, sum(start <= day for start in ordered) - 1)}"


@given(a=st.tuples(st.none() | DAYS, st.none() | DAYS), b=st.tuples(st.none() | DAYS, st.none() | DAYS), day=DAYS)
def test_two_campaigns_share_a_link_only_where_no_day_belongs_to_both(
    a: tuple[date | None, date | None], b: tuple[date | None, date | None], day: date
) -> None:
    one, other = Claim("utm:sale", "a", *a), Claim("utm:sale", "b", *b)

    def holds(claim: Claim) -> bool:
        return (claim.starts_on or date.min) <= day <= (claim.ends_on or date.max)

    if holds(one) and holds(other):
        assert rivals([one], [other]) == [(one, other)]
    assert bool(rivals([one], [other])) == bool(rivals([other], [one]))


def test_an_id_belongs_to_one_campaign_whatever_the_days_and_wherever_it_counts() -> None:
    days = (date(2026, 1, 1), date(2026, 1, 31))
    later = (date(2026, 2, 1), None)
    for key in ("ad_id:google/1", "ad_id:*/1"):
        assert rivals([Claim("ad_id:*/1", "a", *days)], [Claim(key, "b", *later)])
    assert not rivals([Claim("ad_id:meta/1", "a")], [Claim("ad_id:google/1", "b"), Claim("adgroup_id:meta/1", "b")])
    assert rivals([Claim("utm:x", "a"), Claim("utm:x", "b")], []), "of those that are saved together as well"


def test_what_is_wrong_with_a_record_is_said_by_field() -> None:
    good = Campaign("spring", "Spring", planned_spend_minor=5, currency="EUR", keys=("utm:A", "utm:a", "ad_id:1"))
    assert problems(good) == []
    assert kept(good).keys == ("ad_id:*/1", "utm:a")
    bad = replace(
        good, code="Spring", name=" ", owner_department="hr", owner_person="Anna P", product="x y", currency="",
        planned_leads=-1, keys=("utm:",), starts_on=date(2026, 2, 1), ends_on=date(2026, 1, 1),
    )  # fmt: skip
    assert {name for name, _ in problems(bad)} == {
        "code", "name", "owner_department", "owner_person", "product", "currency", "planned_leads", "keys/0", "ends_on",
    }  # fmt: skip
    assert {name for name, _ in problems(replace(good, code="unmatched"))} == {"code"}


def test_a_sheet_is_read_with_what_is_wrong_by_row_and_column() -> None:
    data = "code;name;starts_on;planned_leads;keys\na;Autumn;2026-09-01;80;utm:x\n\nb;B;1.9.2026;;\nc;C;;x;\na;A;;;\n"
    read = sheet.read(b"\xef\xbb\xbf" + data.encode())
    assert read.rows["a"] == {
        "code": "a", "name": "Autumn", "starts_on": date(2026, 9, 1), "planned_leads": 80, "keys": ("utm:x",),
    }  # fmt: skip
    assert [(row, column) for row, column, _ in read.faults] == [(4, "starts_on"), (5, "planned_leads"), (6, "code")]
    assert sheet.read(b"code,budget\n").faults[0][0] == 1
    assert sheet.read(b"name\nx\n").faults[0][1] == "code"
    assert sheet.read(b'code,keys\na,"utm:x;utm:y"\n').rows["a"]["keys"] == ("utm:x", "utm:y")


@given(
    data=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda rest: f"code,name,keys\n{rest}".encode("utf-8", "replace"))
)
def test_no_sheet_breaks_the_reading(data: bytes) -> None:
    read = sheet.read(data)
    assert set(read.rows) == set(read.number_of)


@given(names=st.lists(st.text(max_size=80), max_size=8))
def test_codes_made_of_names_are_codes_and_differ(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        code = slug(name, taken)
        assert code not in taken
        taken.add(code)
        assert problems(Campaign(code, "A name")) == []


def test_every_network_of_a_click_or_link_can_be_named_in_a_key() -> None:
    for network in NETWORKS:
        assert key_of(f"ad_id:{network}/1") == f"ad_id:{network}/1"
    for kind, network in {"gclid": "google", "fbclid": "meta", "yclid": "yandex", "twclid": "x"}.items():
        assert mark_of(
            provider="generic", source_id="", utm_source="", utm_campaign="", click_kinds=(kind,), campaign_id="1",
            adgroup_id="", ad_id="", form_id="",
        ).network == network  # fmt: skip
