"""Which channel a touch belongs to: the engine of the channel table, and the table that Baton comes with.

The table is data (`channel_rules_1.json`, GA4's default rules with AI assistants added) and can be changed by the user;
every change is a version. The first rule that fits decides; what nothing fits is `unassigned`, what says nothing at
all is `direct`. Source of the rules: Google Analytics help, "Default channel group".
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

import tldextract

MOST_RULES = 300
MOST_LISTS = 50
MOST_NAMES = 2_000
MOST_PATTERNS = 100
LONGEST = 100
"""Characters of a name or pattern."""
LARGEST_DOCUMENT = 200_000
"""Bytes; the whole table travels in one event."""

_CONDITIONS = ("source", "medium", "campaign", "source_or_medium")
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LIST = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CLICK = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FIXED = frozenset({"direct", "unassigned"})
"""Said of what names no origin, and of what no rule fits: no rule may say it."""

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


@dataclass(frozen=True, slots=True)
class Patterns:
    """What a value may be: names as they stand, and patterns with `*`, `?` and `[…]`."""

    names: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    def fit(self, value: str) -> bool:
        """Whether a value in lower case fits one of them as a whole; an empty one never does."""
        return bool(value) and (value in self.names or any(p.match(value) for p in self.patterns))


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. Every condition that is given must hold; `either` asks source or medium."""

    channel: str
    sources: frozenset[str] | None = None
    medium: Patterns | None = None
    campaign: Patterns | None = None
    either: frozenset[str] | None = None

    def fits(self, names: frozenset[str], medium: str, *, campaign: str) -> bool:
        """Whether the rule holds for a touch whose source goes by these names."""
        if self.sources is not None and self.sources.isdisjoint(names):
            return False
        if self.medium is not None and not self.medium.fit(medium):
            return False
        if self.campaign is not None and not self.campaign.fit(campaign):
            return False
        return self.either is None or medium in self.either or not self.either.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Grouped:
    """A channel, and the place of the rule that decided it: None where none did."""

    channel: str
    rule: int | None = None


class ChannelRules:
    """One version of the table, ready to be asked. The document must be free of `problems`."""

    def __init__(self, document: Mapping[str, Any], *, version: int) -> None:
        self.version = version
        self.document = document
        lists = document.get("lists", {})
        self.clicks = {kind: (said["source"], said["medium"]) for kind, said in document.get("clicks", {}).items()}
        self.rules = tuple(_rule(row, lists) for row in document["rules"])
        self.channels = ("direct", *dict.fromkeys(rule.channel for rule in self.rules), "referral", "unassigned")
        self._decided = lru_cache(maxsize=4_096)(self._decide)

    def channel_of(
        self, source: str, medium: str, *, campaign: str = "", clicks: tuple[str, ...] = (), referrer: Site = NO_SITE
    ) -> str:
        """The channel by UTM values, else by click ids, else by the referring site. Case does not matter."""
        return self._decided(source.lower(), medium.lower(), campaign.lower(), clicks, referrer).channel

    def group(
        self, source: str, medium: str, *, campaign: str = "", clicks: tuple[str, ...] = (), referrer: Site = NO_SITE
    ) -> Grouped:
        """Like `channel_of`, with the rule that decided."""
        return self._decided(source.lower(), medium.lower(), campaign.lower(), clicks, referrer)

    def _decide(self, source: str, medium: str, campaign: str, clicks: tuple[str, ...], referrer: Site) -> Grouped:
        names = frozenset({source} if source else ())
        if not source and not medium:
            click = next((self.clicks[kind] for kind in clicks if kind in self.clicks), None)
            if click is not None:
                names, medium = frozenset({click[0]}), click[1]
            elif referrer.domain:
                names = frozenset({referrer.host, referrer.domain, referrer.label})
            elif not campaign:
                return Grouped("direct")
        elif source and "." in source:
            site = site_of(source)
            names |= {site.host, site.domain, site.label} - {""}
        if source in ("(direct)", "direct") and medium in ("", "(none)", "(not set)", "none"):
            return Grouped("direct")
        for place, rule in enumerate(self.rules):
            if rule.fits(names, medium, campaign=campaign):
                return Grouped(rule.channel, place)
        return Grouped("referral" if referrer.domain and not source and not medium else "unassigned")


def canonical(document: Mapping[str, Any]) -> bytes:
    """The bytes of a table: the same for the same rules, whoever wrote them."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of `canonical`, in hexadecimal."""
    return hashlib.sha256(canonical(document)).hexdigest()


def problems(document: Any) -> list[tuple[str, str]]:
    """(JSON pointer, what is wrong) for each fault of a table; empty when it can be used."""
    if not isinstance(document, dict):
        return [("", "an object with lists, clicks and rules")]
    faults = [(f"/{name}", "possible are lists, clicks and rules") for name in document.keys() - _PARTS]
    lists, clicks, rules = document.get("lists", {}), document.get("clicks", {}), document.get("rules")
    if not isinstance(lists, dict) or len(lists) > MOST_LISTS:
        faults.append(("/lists", f"an object: list name to names, at most {MOST_LISTS}"))
        lists = {}
    for name, names in lists.items():
        if not _LIST.fullmatch(name):
            faults.append((f"/lists/{name}", "a name of lower case letters, digits and _"))
        if not _texts(names, MOST_NAMES):
            faults.append((f"/lists/{name}", f"1 to {MOST_NAMES} names in lower case, each at most {LONGEST} long"))
    if not isinstance(clicks, dict) or len(clicks) > MOST_PATTERNS:
        faults.append(("/clicks", "an object: click id to {source, medium}"))
        clicks = {}
    for kind, said in clicks.items():
        if not _CLICK.fullmatch(kind) or not isinstance(said, dict) or said.keys() != {"source", "medium"}:
            faults.append((f"/clicks/{kind}", "needs source and medium"))
        elif not all(isinstance(v, str) and len(v) <= LONGEST and v == v.lower() for v in said.values()):
            faults.append((f"/clicks/{kind}", f"text in lower case, at most {LONGEST} long"))
    if not isinstance(rules, list) or not 0 < len(rules) <= MOST_RULES:
        return [*faults, ("/rules", f"1 to {MOST_RULES} rules")]
    for place, row in enumerate(rules):
        faults += _rule_problems(row, place=f"/rules/{place}", lists=lists)
    if not faults and len(canonical(document)) > LARGEST_DOCUMENT:
        faults.append(("", f"the whole table is larger than {LARGEST_DOCUMENT} bytes"))
    return faults


_PARTS = frozenset({"lists", "clicks", "rules"})


def _rule_problems(row: Any, *, place: str, lists: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not isinstance(row, dict):
        return [(place, "an object: channel and conditions")]
    faults = [(f"{place}/{name}", f"possible are {', '.join(_CONDITIONS)}") for name in row.keys() - _ROW]
    channel = row.get("channel")
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel) or channel in _FIXED:
        faults.append((f"{place}/channel", "a code of lower case letters, digits and _; not direct or unassigned"))
    given = [name for name in _CONDITIONS if name in row]
    if not given:
        faults.append((place, f"needs at least one of {', '.join(_CONDITIONS)}: it would take everything"))
    for name in given:
        if not _texts(row[name], MOST_PATTERNS):
            faults.append((f"{place}/{name}", f"1 to {MOST_PATTERNS} texts in lower case, each at most {LONGEST} long"))
        elif name == "source":
            unknown = [v for v in row[name] if v.startswith("@") and v[1:] not in lists]
            faults += [(f"{place}/source", f"there is no list {v[1:]}") for v in unknown]
    return faults


_ROW = frozenset({"channel", "note", *_CONDITIONS})


def _texts(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= most
        and all(isinstance(v, str) and 0 < len(v) <= LONGEST and v == v.lower() and v.isprintable() for v in value)
    )


def _rule(row: Mapping[str, Any], lists: Mapping[str, Any]) -> Rule:
    return Rule(
        channel=row["channel"],
        sources=_sources(row["source"], lists) if "source" in row else None,
        medium=_patterns(row["medium"]) if "medium" in row else None,
        campaign=_patterns(row["campaign"]) if "campaign" in row else None,
        either=frozenset(row["source_or_medium"]) if "source_or_medium" in row else None,
    )


def _sources(names: Iterable[str], lists: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one for name in names for one in (lists[name[1:]] if name.startswith("@") else (name,)))


def _patterns(texts: Iterable[str]) -> Patterns:
    # Shell patterns and not regular expressions: `translate` makes none that backtracks, so that no rule a user
    # writes can hold up the door.
    globs = [t for t in texts if set(t) & set("*?[")]
    return Patterns(frozenset(texts) - frozenset(globs), tuple(re.compile(fnmatch.translate(g)) for g in globs))


DEFAULT_RULES: Final = ChannelRules(
    json.loads(files("lead_intake").joinpath("channel_rules_1.json").read_text("utf-8")), version=1
)
"""Version 1: what Baton comes with."""

CLICK_KINDS: Final = tuple(DEFAULT_RULES.clicks)
