"""Which channel a touch belongs to: GA4's default channel rules as a table, AI assistants added.

Source of the rules: Google Analytics help, "Default channel group". The first rule of `RULES` that fits
decides; what nothing fits is `unassigned`, what says nothing at all is `direct`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import tldextract


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SEARCH = _words(
    """
    google bing yahoo duckduckgo yandex ya.ru baidu ecosia qwant startpage ask aol naver daum seznam
    sogou so.com rambler brave go.mail.ru dogpile lycos
    """
)
SOCIAL = _words(
    """
    facebook fb fb.com m.facebook instagram ig linkedin lnkd.in twitter x.com t.co tiktok pinterest
    reddit threads threads.net vk vkontakte vk.com ok.ru odnoklassniki telegram t.me whatsapp wa.me
    snapchat quora tumblr xing mastodon bsky.app bluesky discord meetup weibo wechat line messenger
    """
)
SHOPPING = _words(
    """
    amazon ebay etsy walmart alibaba aliexpress shopify idealo ozon wildberries market.yandex.ru
    mercadolibre shopping.google.com shopping
    """
)
VIDEO = _words(
    """
    youtube youtu.be vimeo twitch dailymotion rutube netflix hulu disneyplus wistia
    """
)
ASSISTANTS = _words(
    """
    chatgpt.com chatgpt openai openai.com chat.openai.com claude.ai claude anthropic perplexity
    perplexity.ai gemini gemini.google.com bard.google.com copilot copilot.microsoft.com deepseek
    deepseek.com grok grok.com mistral.ai chat.mistral.ai meta.ai you.com poe.com alice.yandex.ru
    giga.chat phind
    """
)
MAIL_SITES = _words(
    """
    mail.google.com outlook.live.com mail.yahoo.com mail.yandex.ru e.mail.ru outlook.office.com
    """
)

_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*")
_SHOP_CAMPAIGN = re.compile(r".*(([^a-df-z]|^)shop|shopping).*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. Every condition that is given must hold; `either` asks source or medium."""

    channel: str
    sources: frozenset[str] | None = None
    medium: re.Pattern[str] | None = None
    campaign: re.Pattern[str] | None = None
    either: frozenset[str] | None = None


RULES: tuple[Rule, ...] = (
    Rule("cross_network", campaign=re.compile(r".*cross-network.*")),
    Rule("paid_shopping", sources=SHOPPING, medium=_PAID),
    Rule("paid_shopping", campaign=_SHOP_CAMPAIGN, medium=_PAID),
    Rule("paid_search", sources=SEARCH, medium=_PAID),
    Rule("paid_social", sources=SOCIAL, medium=_PAID),
    Rule("paid_video", sources=VIDEO, medium=_PAID),
    Rule("display", medium=re.compile(r"display|banner|expandable|interstitial|cpm")),
    Rule("paid_other", medium=_PAID),
    Rule("ai_assistant", sources=ASSISTANTS),
    Rule("ai_assistant", medium=re.compile(r"ai|ai[-_ ]?assistant|llm")),
    Rule("organic_shopping", sources=SHOPPING),
    Rule("organic_shopping", campaign=_SHOP_CAMPAIGN),
    Rule("email", either=frozenset(("email", "e-mail", "e_mail", "e mail", "newsletter", "mailing"))),
    Rule("organic_social", sources=SOCIAL),
    Rule(
        "organic_social",
        medium=re.compile(r"social|social-network|social-media|sm|social network|social media"),
    ),
    Rule("organic_video", sources=VIDEO),
    Rule("organic_video", medium=re.compile(r".*video.*")),
    Rule("organic_search", sources=SEARCH),
    Rule("organic_search", medium=re.compile(r"organic")),
    Rule("email", sources=MAIL_SITES),
    Rule("referral", medium=re.compile(r"referral|app|link|partner")),
    Rule("affiliates", medium=re.compile(r"affiliates?")),
    Rule("audio", medium=re.compile(r"audio")),
    Rule("sms", either=frozenset(("sms",))),
    Rule("push", medium=re.compile(r".*push|.*mobile.*|.*notification.*")),
    Rule("push", sources=frozenset(("firebase",))),
    Rule("event", medium=re.compile(r"event|offline|trade[-_ ]?show|webinar|messe")),
)

# What a click id says by itself, when no UTM value does: (source, medium).
CLICKS: Mapping[str, tuple[str, str]] = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"),
    "yclid": ("yandex", "cpc"),
    "ymclid": ("market.yandex.ru", "cpc"),
    "ttclid": ("tiktok", "cpc"),
    "li_fat_id": ("linkedin", "cpc"),
    "twclid": ("twitter", "cpc"),
    "fbclid": ("facebook", ""),  # also on links that nobody paid for
}

CHANNELS = ("direct", *dict.fromkeys(rule.channel for rule in RULES), "unassigned")

# No list is fetched: the one in the package decides, and nothing is written to a cache on disk.
_extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@dataclass(frozen=True, slots=True)
class Site:
    """A web site: full host, registered domain (`google.co.uk`), its name without suffix (`google`)."""

    host: str
    domain: str
    label: str


NO_SITE = Site("", "", "")


def site_of(address: str) -> Site:
    """The site of a URL or host name; `NO_SITE` when there is none."""
    address = address.strip()[:2_000]
    try:
        host = (urlsplit(address if "//" in address else f"//{address}").hostname or "").lower()
    except ValueError:
        return NO_SITE
    return site_of_host(host)


def site_of_host(host: str) -> Site:
    """The site of a host name in lower case."""
    return _site(host) if 0 < len(host) <= 253 else NO_SITE


@lru_cache(maxsize=16_384)
def _site(host: str) -> Site:
    parts = _extract(host)
    if not parts.domain or not parts.suffix:
        return NO_SITE
    domain = f"{parts.domain}.{parts.suffix}"
    return Site(host.removeprefix("www."), domain, parts.domain)


def channel_of(
    source: str, medium: str, *, campaign: str = "", clicks: tuple[str, ...] = (), referrer: Site = NO_SITE
) -> str:
    """The channel by UTM values, else by click ids, else by the referring site. Case does not matter."""
    return _channel_of(source.lower(), medium.lower(), campaign.lower(), clicks, referrer)


@lru_cache(maxsize=4_096)
def _channel_of(source: str, medium: str, campaign: str, clicks: tuple[str, ...], referrer: Site) -> str:
    names = {source} if source else set()
    if not source and not medium:
        click = next((CLICKS[kind] for kind in clicks if kind in CLICKS), None)
        if click is not None:
            names, medium = {click[0]}, click[1]
        elif referrer.domain:
            names = {referrer.host, referrer.domain, referrer.label}
        elif not campaign:
            return "direct"
    elif source and "." in source:
        site = site_of(source)
        names |= {site.host, site.domain, site.label} - {""}
    if source in ("(direct)", "direct") and medium in ("", "(none)", "(not set)", "none"):
        return "direct"
    for rule in RULES:
        if _fits(rule, names, medium, campaign=campaign):
            return rule.channel
    return "referral" if referrer.domain and not source and not medium else "unassigned"


def _fits(rule: Rule, names: set[str], medium: str, *, campaign: str) -> bool:
    if rule.sources is not None and rule.sources.isdisjoint(names):
        return False
    if rule.medium is not None and (not medium or not rule.medium.fullmatch(medium)):
        return False
    if rule.campaign is not None and (not campaign or not rule.campaign.fullmatch(campaign)):
        return False
    return rule.either is None or medium in rule.either or not rule.either.isdisjoint(names)
