from datetime import UTC, datetime

import phonenumbers
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType

from lead_intake import features, normalise
from lead_intake.channels import DEFAULT_RULES, site_of
from lead_intake.contact import stamp
from lead_intake.delivery import Inquiry
from lead_intake.touches import origin_of, page_path


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Anna.Petrova@Example.COM", "Anna.Petrova@example.com"),
        (" mailto:a@b.de ", "a@b.de"),
        ("a@münchen.de", "a@xn--mnchen-3ya.de"),
        ("a@@b.de", ""),
        ("a@localhost", ""),
        ("a@[127.0.0.1]", ""),
        ("a..b@c.de", ""),
        ("=cmd@", ""),
        ("", ""),
    ],
)
def test_addresses_have_one_form(told: str, expected: str) -> None:
    assert normalise.email(told) == expected


@pytest.mark.parametrize(
    ("told", "region", "expected"),
    [
        ("+34 (600) 11-22-33", "", ("+34600112233", "ES")),
        ("0034600112233", "DE", ("+34600112233", "ES")),
        ("030 1234567", "DE", ("+49301234567", "DE")),
        ("8 912 345-67-89", "RU", ("+79123456789", "RU")),
        ("600112233", "", ("", "")),
        ("call me", "DE", ("", "")),
    ],
)
def test_numbers_have_one_form(told: str, region: str, expected: tuple[str, str]) -> None:
    assert normalise.phone(told, region) == expected


CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
PREFIXES = {
    code: (known.national_prefix or "")
    if (known := phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0]))
    else ""
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
}
EXAMPLES = {
    code: [
        str(found.national_number)
        for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE)
        if (found := phonenumbers.example_number_for_type(region, kind))
    ]
    for code in CODES
}


@st.composite
def international(draw: st.DrawFn) -> str:
    """A number with a calling code: one of the country's own examples, bent or behind its prefix, or any digits."""
    code = draw(st.sampled_from(CODES))
    digits = draw(st.text("0123456789", min_size=1, max_size=13))
    if EXAMPLES[code]:
        example = draw(st.sampled_from(EXAMPLES[code]))
        kept = draw(st.integers(0, len(example)))
        bent = example[:kept] + digits[: len(example) - kept]
        digits = draw(st.sampled_from([example, PREFIXES[code] + example, PREFIXES[code] + bent, bent, digits]))
    return f"+{code}{digits}"


@given(international())
@settings(max_examples=500)
def test_a_number_read_at_a_glance_is_what_the_library_says(told: str) -> None:
    glance = normalise.phone(told, "DE")
    # A space makes it go the long way.
    assert glance == normalise.phone(f"{told[:2]} {told[2:]}", "DE")


def test_most_international_numbers_are_read_at_a_glance() -> None:
    assert normalise._plain_country("+4915112345678") == "DE"
    # Shared between countries, behind a national prefix, too short: the library decides.
    assert [normalise._plain_country(n) for n in ("+79123456789", "+490301234567", "+491")] == ["", "", ""]


@given(st.text(st.characters(max_codepoint=0x2FF)), st.integers(1, 20))
def test_plain_text_is_cleaned_like_any_other(told: str, limit: int) -> None:
    # A byte-order mark is dropped, and is enough to make the text one that is not plain.
    assert normalise.text(told, limit) == normalise.text(told[: limit * 4] + "\ufeff", limit + 1)[:limit].rstrip()


@given(st.datetimes(timezones=st.timezones()))
def test_a_stamp_is_the_time_to_the_microsecond(at: datetime) -> None:
    expected = Timestamp()
    expected.FromDatetime(at)
    assert stamp(at) == expected


@pytest.mark.parametrize(
    ("source", "medium", "clicks", "referrer", "expected"),
    [
        ("", "", (), "", "direct"),
        ("google", "cpc", (), "", "paid_search"),
        ("google", "organic", (), "", "organic_search"),
        ("facebook", "paid_social", (), "", "paid_social"),
        ("newsletter", "email", (), "", "email"),
        ("LinkedIn", "", (), "", "organic_social"),
        ("youtube.com", "cpv", (), "", "paid_video"),
        ("chatgpt.com", "", (), "", "ai_assistant"),
        ("chatgpt.com", "referral", (), "", "ai_assistant"),
        ("partner", "referral", (), "", "referral"),
        ("x", "display", (), "", "display"),
        ("x", "cpc", (), "", "paid_other"),
        ("x", "y", (), "", "unassigned"),
        ("", "", ("gclid",), "", "paid_search"),
        ("", "", ("yclid",), "", "paid_search"),
        ("", "", ("fbclid",), "", "organic_social"),
        ("", "", ("li_fat_id",), "", "paid_social"),
        ("", "", (), "https://www.google.co.uk/search?q=x", "organic_search"),
        ("", "", (), "https://gemini.google.com/app", "ai_assistant"),
        ("", "", (), "https://ya.ru/", "organic_search"),
        ("", "", (), "https://t.co/x", "organic_social"),
        ("", "", (), "https://blog.example.org/post", "referral"),
        ("(direct)", "(none)", (), "", "direct"),
    ],
)
def test_channels_follow_the_table(
    source: str, medium: str, clicks: tuple[str, ...], referrer: str, expected: str
) -> None:
    assert DEFAULT_RULES.channel_of(source, medium, clicks=clicks, referrer=site_of(referrer)) == expected


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=60), st.text(max_size=200))
def test_every_touch_has_a_channel_of_the_closed_list(source: str, medium: str, campaign: str, referrer: str) -> None:
    fields = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign, "referrer": referrer}
    origin = origin_of(Inquiry("k", fields))
    assert origin.channel in DEFAULT_RULES.channels
    assert "@" not in origin.utm_source + origin.utm_medium + origin.utm_campaign


def test_the_landing_page_gives_utm_and_click_ids_with_their_case_and_keeps_no_query() -> None:
    address = "https://www.firm.de/pricing/team?utm_source=Google&utm_medium=CPC&utm_id=77&gclid=AbC_dEf&email=a@b.de"
    origin = origin_of(Inquiry("k", {"page_url": address, "referrer": "https://firm.de/blog"}))
    assert (origin.page, origin.channel, origin.utm_source, origin.campaign_id) == (
        "/pricing/team", "paid_search", "google", "77",
    )  # fmt: skip
    assert origin.click_ids == (("gclid", "AbC_dEf"),)
    assert origin.referrer_domain == "", "from one page of the own site to another"


def test_a_path_that_could_name_a_person_is_masked() -> None:
    assert page_path("/u/anna@example.com/invite/4915112345678/x") == "/u/:id/invite/:id/x"


@pytest.mark.parametrize(
    ("title", "level", "function"),
    [
        ("Head of Sales", "director", "sales"),
        ("Chief Marketing Officer", "c_level", "marketing"),
        ("Geschäftsführerin", "c_level", ""),
        ("Vertriebsleiter", "", "sales"),
        ("Leiter IT", "director", "it"),
        ("Генеральный директор", "c_level", ""),
        ("Менеджер по продажам", "manager", "sales"),
        ("Director de Marketing", "director", "marketing"),
        ("VP Engineering", "vp", "engineering"),
        ("Founder", "owner", ""),
        ("Software Engineer", "specialist", "engineering"),
        ("", "", ""),
    ],
)
def test_titles_become_codes(title: str, level: str, function: str) -> None:
    assert (features.job_level(title), features.job_function(title)) == (level, function)


@pytest.mark.parametrize(
    ("told", "expected"),
    [("51-200", 50), ("1,000+", 1000), ("5 000", 5000), ("10", 10), ("just me", 0), ("1–10 employees", 1), ("249", 50)],
)
def test_company_sizes_become_buckets(told: str, expected: int) -> None:
    assert features.employees_of(told) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("€ 25.000", (25000, "EUR")),
        ("10k USD", (10000, "USD")),
        ("1.5", (1, "")),
        ("500 тыс руб", (500000, "RUB")),
        ("?", (0, "")),
    ],
)
def test_budgets_become_whole_units(told: str, expected: tuple[int, str]) -> None:
    assert features.budget_of(told) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("ASAP", "now"),
        ("1-3 months", "quarter"),
        ("3-6 months", "year"),
        ("just looking", "later"),
        ("quarter", "quarter"),
    ],
)
def test_timelines_become_codes(told: str, expected: str) -> None:
    assert features.timeline_of(told) == expected


@pytest.mark.parametrize(
    ("told", "expected"), [("true", True), ("I agree to the terms", True), ("no", False), ("", None), ("0", False)]
)
def test_consent_is_yes_no_or_not_asked(told: str, expected: bool | None) -> None:
    assert features.consent(told) is expected


@pytest.mark.parametrize(
    ("email", "kind", "domain"),
    [
        ("a@gmail.com", "free", ""),
        ("info@firm.de", "role", "firm.de"),
        ("a@mail.firm.co.uk", "business", "firm.co.uk"),
        ("a@mailinator.com", "disposable", ""),
    ],
)
def test_addresses_tell_the_company(email: str, kind: str, domain: str) -> None:
    assert (features.email_kind(email), features.company_domain(email, "")) == (kind, domain)


def test_a_free_address_beside_a_web_site_tells_the_site() -> None:
    assert features.company_domain("a@gmail.com", "https://www.petrova-labs.es/about") == "petrova-labs.es"


@given(st.text(max_size=300))
def test_cleaned_text_can_be_stored_and_shown(told: str) -> None:
    cleaned = normalise.text(told)
    cleaned.encode()
    assert not {"\x00", "\u202e", "\u200b", "\n"} & set(cleaned)
    assert len(cleaned) <= normalise.MAX_TEXT


@given(st.text(max_size=60) | st.integers() | st.floats())
def test_any_time_is_utc_or_none(told: object) -> None:
    at = normalise.timestamp(told)
    assert at is None or at.tzinfo is UTC
    assert (
        normalise.timestamp("1767600000") == normalise.timestamp(1767600000000) == datetime(2026, 1, 5, 8, tzinfo=UTC)
    )
