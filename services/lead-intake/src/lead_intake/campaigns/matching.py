"""Which campaign a touch belongs to: by the ids of its ad first, then by `utm_campaign`, then by its form. Pure.

A key says in one text what a touch must carry: `utm:autumn-sale`, `campaign_id:google/20481234567`,
`form_id:demo-form/contact`. What stands before the slash is where an id counts: an ad network, or the source of a form;
`*` is anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from lead_intake import normalise

AD_IDS: Final = ("ad_id", "adgroup_id", "campaign_id")
"""The ids of an ad platform, the most exact first."""
KINDS: Final = (*AD_IDS, "utm", "form_id")
"""In the order in which they decide. A form tells where somebody answered, an ad or a link tells why: it comes last."""

ANYWHERE: Final = "*"
NETWORKS: Final = frozenset({"google", "linkedin", "meta", "microsoft", "tiktok", "vk", "x", "yandex"})

_OF_PROVIDER: Final[Mapping[str, str]] = {
    "google_ads": "google", "meta": "meta", "linkedin": "linkedin", "tiktok": "tiktok", "vk_lead_forms": "vk",
}  # fmt: skip
_OF_CLICK: Final[Mapping[str, str]] = {
    "gclid": "google", "gbraid": "google", "wbraid": "google", "dclid": "google", "fbclid": "meta",
    "msclkid": "microsoft", "ttclid": "tiktok", "li_fat_id": "linkedin", "twclid": "x", "yclid": "yandex",
    "ymclid": "yandex",
}  # fmt: skip
_OF_UTM: Final[Mapping[str, str]] = {
    name: network
    for network, names in {
        "google": "google adwords googleads google_ads google-ads",
        "meta": "meta facebook fb instagram ig",
        "linkedin": "linkedin",
        "microsoft": "microsoft bing bingads",
        "tiktok": "tiktok",
        "vk": "vk vkontakte",
        "x": "x twitter",
        "yandex": "yandex yandex_direct yandex-direct",
    }.items()
    for name in names.split()
}
_SOURCE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class BadKey(ValueError):
    """The text is no key; `args[0]` says what one looks like."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What of a touch can belong to a campaign. `utm` is `utm_campaign` without regard to case."""

    network: str
    source_id: str
    campaign_id: str
    adgroup_id: str
    ad_id: str
    form_id: str
    utm: str

    @property
    def key(self) -> str:
        """The key under which it stands in the worklist: what a person knows it by; "" where no link or ad says any."""
        if self.utm:
            return f"utm:{self.utm}"
        for kind, value in (
            ("campaign_id", self.campaign_id), ("adgroup_id", self.adgroup_id), ("ad_id", self.ad_id),
        ):  # fmt: skip
            if value:
                return f"{kind}:{self.network or ANYWHERE}/{value}"
        return ""

    def carried(self) -> Iterator[str]:
        """Every key that it carries, in the order in which they decide."""
        for kind, value in (
            ("ad_id", self.ad_id), ("adgroup_id", self.adgroup_id), ("campaign_id", self.campaign_id),
        ):  # fmt: skip
            if value:
                if self.network:
                    yield f"{kind}:{self.network}/{value}"
                yield f"{kind}:{ANYWHERE}/{value}"
        if self.utm:
            yield f"utm:{self.utm}"
        if self.form_id:
            yield f"form_id:{self.source_id}/{self.form_id}"
            yield f"form_id:{ANYWHERE}/{self.form_id}"


def mark_of(
    *,
    provider: str,
    source_id: str,
    utm_source: str,
    utm_campaign: str,
    click_kinds: Iterable[str],
    campaign_id: str,
    adgroup_id: str,
    ad_id: str,
    form_id: str,
) -> Mark:
    """The mark of a touch, from what is kept of it and its source's provider."""
    network = _OF_PROVIDER.get(provider, "")
    if not network and (campaign_id or adgroup_id or ad_id):
        network = next((_OF_CLICK[kind] for kind in click_kinds if kind in _OF_CLICK), "") or _OF_UTM.get(
            utm_source.lower(), ""
        )
    return Mark(network, source_id, campaign_id, adgroup_id, ad_id, form_id, utm_of(utm_campaign))


def utm_of(kept: str) -> str:
    """A `utm_campaign` as it is kept of a touch (`normalise.campaign_text`), without regard to case."""
    return normalise.text(kept.lower(), 100) if kept else ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A campaign wants the touches that carry a key. The days are its period, both included, in UTC."""

    key: str
    code: str
    starts_on: date | None = None
    ends_on: date | None = None

    @property
    def starts(self) -> date:
        return self.starts_on or date.min

    def meets(self, other: Claim) -> bool:
        """Whether both periods hold a day; without a date a period has no end on that side."""
        return self.starts <= (other.ends_on or date.max) and other.starts <= (self.ends_on or date.max)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a touch belongs: the campaign's code ("" for none), the key that decided, its key in the worklist."""

    campaign: str
    by: str
    key: str


class Campaigns:
    """All claims of one version of the campaigns, ready to be asked."""

    def __init__(self, version: int, claims: Iterable[Claim]) -> None:
        self.version = version
        claimed: dict[str, list[Claim]] = {}
        for claim in claims:
            claimed.setdefault(claim.key, []).append(claim)
        self._claimed = {key: tuple(sorted(found, key=lambda c: (c.starts, c.code))) for key, found in claimed.items()}

    def place(self, mark: Mark, at: datetime) -> Placed:
        """The campaign of a touch at this time: its first key that any campaign claims decides.

        Where several share the key, it is the one that had begun last by that day (UTC): who answers to an old link
        does so after the campaign has ended. Before all of them it is the first.
        """
        if self._claimed:
            for key in mark.carried():
                found = self._claimed.get(key)
                if found is not None:
                    return Placed(_at(found, at), key, mark.key)
        return Placed("", "", mark.key)


NO_CAMPAIGNS: Final = Campaigns(0, ())


def _at(found: tuple[Claim, ...], at: datetime) -> str:
    if len(found) == 1:
        return found[0].code
    day = at.astimezone(UTC).date()
    begun = [claim for claim in found if claim.starts <= day]
    return (begun[-1] if begun else found[0]).code


def key_of(text: str) -> str:
    """A key as it is kept. Raises BadKey."""
    kind, colon, value = text.strip().partition(":")
    if not colon or kind not in KINDS:
        raise BadKey(f"a key begins with one of {', '.join(f'{k}:' for k in KINDS)}")
    if kind == "utm":
        if not (utm := utm_of(normalise.campaign_text(value))):
            raise BadKey("utm: is followed by a utm_campaign that names no person")
        return f"utm:{utm}"
    where, slash, id = value.partition("/")
    if not slash:
        where, id = ANYWHERE, value
    where = where.strip().lower()
    kept = normalise.identifier(id)
    if not kept:
        raise BadKey("an id has at most 64 characters: letters, digits and . _ : ~ / -")
    if kind == "form_id":
        if where != ANYWHERE and not _SOURCE.fullmatch(where):
            raise BadKey("before the slash stands the id of the form's source, or *")
    elif where != ANYWHERE and where not in NETWORKS:
        raise BadKey(f"before the slash stands one of {', '.join(sorted(NETWORKS))}, or *")
    return f"{kind}:{where}/{kept}"


def bare(key: str) -> str:
    """What of a key two campaigns cannot both have: the same id, wherever it counts."""
    kind, _, value = key.partition(":")
    return key if kind == "utm" else f"{kind}:{value.partition('/')[2]}"


def rivals(claims: Iterable[Claim], others: Iterable[Claim]) -> list[tuple[Claim, Claim]]:
    """The pairs of a claim and one of the others, or another of its own kind, that cannot stand beside each other.

    Two campaigns may share a `utm_campaign` when their periods have no day in common; an id belongs to one only.
    """
    claims = list(claims)
    by_bare: dict[str, list[Claim]] = {}
    for claim in (*others, *claims):
        by_bare.setdefault(bare(claim.key), []).append(claim)
    return [
        (claim, other)
        for claim in claims
        for other in by_bare[bare(claim.key)]
        if other.code != claim.code and _collide(claim, other)
    ]


def _collide(one: Claim, other: Claim) -> bool:
    if one.key.startswith("utm:"):
        return one.meets(other)
    return one.key == other.key or ANYWHERE in (_where(one.key), _where(other.key))


def _where(key: str) -> str:
    return key.partition(":")[2].partition("/")[0]
