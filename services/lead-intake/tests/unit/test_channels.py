"""The channel table: what it may say, and that the one Baton comes with is GA4's."""

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_intake.channels import DEFAULT_RULES, ChannelRules, canonical, digest_of, problems, site_of, site_of_host
from lead_intake.delivery import Inquiry
from lead_intake.touches import origin_of

DEFAULT = DEFAULT_RULES.document


def changed(**more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dict(DEFAULT)), **more}


@pytest.mark.parametrize(
    ("source", "medium", "campaign", "expected"),
    [
        # Google Analytics help, "Default channel group": one line each.
        ("any", "any", "Cross-network sale", "cross_network"),
        ("ebay", "ppc", "", "paid_shopping"),
        ("x", "cpc", "winter shopping", "paid_shopping"),
        ("x", "cpc", "eshop", "paid_shopping"),
        ("x", "cpc", "workshop", "paid_other"),
        ("bing", "paidsearch", "", "paid_search"),
        ("facebook", "retargeting", "", "paid_social"),
        ("youtube", "cpv-cpc", "", "paid_video"),
        ("x", "interstitial", "", "display"),
        ("x", "paid-banner", "", "paid_other"),
        ("etsy", "link", "", "organic_shopping"),
        ("linkedin", "", "", "organic_social"),
        ("x", "sm", "", "organic_social"),
        ("vimeo", "referral", "", "organic_video"),
        ("duckduckgo", "", "", "organic_search"),
        ("x", "organic", "", "organic_search"),
        ("e-mail", "", "", "email"),
        ("x", "affiliate", "", "affiliates"),
        ("x", "app", "", "referral"),
        ("x", "audio", "", "audio"),
        ("sms", "", "", "sms"),
        ("x", "mobile-notification", "", "push"),
        ("firebase", "", "", "push"),
        # Ours beside them.
        ("perplexity.ai", "", "", "ai_assistant"),
        ("chatgpt.com", "referral", "", "ai_assistant"),
        ("fair", "trade show", "", "event"),
    ],
)
def test_the_default_table_follows_the_published_rules(source: str, medium: str, campaign: str, expected: str) -> None:
    assert DEFAULT_RULES.channel_of(source, medium, campaign=campaign) == expected


def test_the_default_table_is_free_of_problems_and_says_the_same_after_a_round_trip() -> None:
    assert problems(DEFAULT) == []
    again = json.loads(canonical(DEFAULT))
    assert (again, digest_of(again)) == (DEFAULT, digest_of(DEFAULT))


def test_a_rule_of_the_user_s_own_comes_first_and_names_itself() -> None:
    rules = ChannelRules(
        changed(
            lists={**DEFAULT["lists"], "press": ["magazine.example.com"]},
            rules=[
                {"channel": "press", "source": ["@press", "gazette"], "medium": ["cp?", "news*"]},
                *DEFAULT["rules"],
            ],
        ),
        version=2,
    )
    grouped = rules.group("Gazette", "CPM")
    assert (grouped.channel, grouped.rule) == ("press", 0)
    assert rules.channel_of("magazine.example.com", "newsletter") == "press"
    assert rules.channel_of("gazette", "cp") == "paid_other", "`?` is exactly one character"


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], ""),
        ({"rules": []}, "/rules"),
        ({"rules": [{"channel": "x"}]}, "/rules/0"),
        ({"rules": [{"channel": "direct", "source": ["x"]}]}, "/rules/0/channel"),
        ({"rules": [{"channel": "Paid Search", "source": ["x"]}]}, "/rules/0/channel"),
        ({"rules": [{"channel": "x", "source": ["@nobody"]}]}, "/rules/0/source"),
        ({"rules": [{"channel": "x", "source": "google"}]}, "/rules/0/source"),
        ({"rules": [{"channel": "x", "medium": ["CPC"]}]}, "/rules/0/medium"),
        ({"rules": [{"channel": "x", "regex": [".*"]}]}, "/rules/0/regex"),
        ({"rules": [{"channel": "x", "source": ["x"]}], "clicks": {"gclid": "google"}}, "/clicks/gclid"),
        ({"rules": [{"channel": "x", "source": ["x"]}], "lists": {"a": []}}, "/lists/a"),
        ({"rules": [{"channel": "x", "source": ["x"]}], "more": 1}, "/more"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(document: Any, pointer: str) -> None:
    assert pointer in [place for place, _ in problems(document)]


def test_no_pattern_of_a_user_can_hold_up_the_door() -> None:
    hostile = {"rules": [{"channel": "x", "medium": ["*a" * 40 + "*b"]}]}
    assert problems(hostile) == []
    rules = ChannelRules(hostile, version=2)
    began = time.perf_counter()
    assert rules.channel_of("s", "a" * 100) == "unassigned"
    assert time.perf_counter() - began < 1.0


_TEXT = st.sampled_from(["", "google", "x", "Facebook", "chatgpt.com", "shop", "www.bing.com"]) | st.text(max_size=20)


_MEDIUM = st.sampled_from(["cpc", "organic", "ai", "push"]) | st.text(max_size=12)


@given(
    st.just(("", "", "")) | st.tuples(_TEXT, _MEDIUM, _TEXT),
    st.sampled_from(
        ["", "https://www.google.co.uk/x", "https://gemini.google.com", "https://mail.google.com/a", "t.co"]
    ),
    st.sampled_from(["", "", "?gclid=A", "?fbclid=b&gclid=C"]),
)
def test_what_is_kept_of_a_touch_gives_the_channel_that_the_door_gave(
    utm: tuple[str, str, str], referrer: str, query: str
) -> None:
    source, medium, campaign = utm
    fields = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign, "referrer": referrer}
    origin = origin_of(Inquiry("k", fields | {"page_url": f"https://firm.de/p{query}"}))
    again = DEFAULT_RULES.channel_of(
        origin.utm_source,
        origin.utm_medium,
        campaign=origin.utm_campaign,
        clicks=tuple(" ".join(origin.click_kinds).split()),
        referrer=site_of_host(origin.referrer_host),
    )
    assert again == origin.channel


def test_only_the_host_of_the_referrer_is_kept() -> None:
    origin = origin_of(Inquiry("k", {"referrer": "https://gemini.google.com/app/secret?q=anna"}))
    assert (origin.referrer_host, origin.referrer_domain) == ("gemini.google.com", "google.com")
    assert origin.referrer == site_of("gemini.google.com")
