"""Where a person came from: UTM values, click ids, referrer and landing page of one inquiry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from lead_intake import normalise
from lead_intake.campaigns.matching import Mark, mark_of
from lead_intake.channels import DEFAULT_RULES, NO_SITE, ChannelRules, Site, site_of, site_of_host
from lead_intake.delivery import Inquiry
from lead_intake.mapping import CLICK_IDS

TOUCH_KINDS = frozenset({"form", "ad_click", "visit", "email", "call", "event", "chat"})
"""What a source's deliveries may be, by its setting `touch_kind`."""

_UTM = ("utm_source", "utm_medium", "utm_campaign")
_PRIVATE_SEGMENT = re.compile(r"@|%40|\d{7,}|^.{65,}$|[0-9a-fA-F-]{32,}")


@dataclass(frozen=True, slots=True)
class Origin:
    """The marketing side of a touch. Click ids are personal data and go to the contact only; their kinds do not.

    `rules_version` is the version of the channel rules that gave the channel; `within_visit` says that the touch is a
    further step of a visit that began with another one.
    """

    kind: str
    channel: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    campaign_id: str
    adgroup_id: str
    ad_id: str
    form_id: str
    page: str
    referrer_domain: str
    click_ids: tuple[tuple[str, str], ...]
    referrer_host: str = ""
    rules_version: int = DEFAULT_RULES.version
    within_visit: bool = False
    action: str = ""

    @property
    def click_kinds(self) -> tuple[str, ...]:
        """The kinds of the click ids, which name nobody."""
        return tuple(kind for kind, _ in self.click_ids)

    @property
    def referrer(self) -> Site:
        """The referring site."""
        return site_of_host(self.referrer_host)

    def mark(self, *, provider: str, source_id: str) -> Mark:
        """What of it can belong to a campaign."""
        return mark_of(
            provider=provider,
            source_id=source_id,
            utm_source=self.utm_source,
            utm_campaign=self.utm_campaign,
            click_kinds=self.click_kinds,
            campaign_id=self.campaign_id,
            adgroup_id=self.adgroup_id,
            ad_id=self.ad_id,
            form_id=self.form_id,
        )


NOWHERE = Origin("", "", "", "", "", "", "", "", "", "", "", ())
"""Of what is no touch."""


def origin_of(inquiry: Inquiry, *, kind: str = "form", rules: ChannelRules = DEFAULT_RULES) -> Origin:
    """What the fields say; what they leave open is read from the query of the landing page's address.

    `kind` is one of TOUCH_KINDS: what a source brings is a form, unless its settings say otherwise.
    """
    fields = inquiry.fields
    address = fields.get("page_url", "")
    page, query = _page(address) if address else ("", {})
    referrer_url = fields.get("referrer", "")
    referrer = site_of(referrer_url) if referrer_url else NO_SITE
    if referrer.domain and address and referrer.domain == site_of(address).domain:
        referrer = NO_SITE  # from one page of the own site to another

    def told(name: str) -> str:
        return fields.get(name) or query.get(name, "")

    def identifier(name: str) -> str:
        return normalise.identifier(value) if (value := told(name)) else ""

    clicks = tuple(
        (kind, value) for kind in CLICK_IDS if (value := told(kind)) and (value := normalise.click_id(value))
    )
    source, medium, campaign = (normalise.campaign_text(told(name)) if told(name) else "" for name in _UTM)
    return Origin(
        kind=kind,
        channel=rules.channel_of(
            source, medium, campaign=campaign, clicks=tuple(kind for kind, _ in clicks), referrer=referrer
        ),
        utm_source=source.lower(),
        utm_medium=medium.lower(),
        utm_campaign=campaign,
        campaign_id=identifier("campaign_id"),
        adgroup_id=identifier("adgroup_id"),
        ad_id=identifier("ad_id"),
        form_id=normalise.identifier(fields.get("form_id", "")),
        page=page,
        referrer_domain=_domain(referrer),
        click_ids=clicks,
        referrer_host=referrer.host,
        rules_version=rules.version,
        within_visit=inquiry.visit is not None and inquiry.visit.within,
        action=inquiry.visit.action if inquiry.visit is not None else "",
    )


def _page(address: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(address.strip()[:4_000])
        pairs = parse_qsl(parts.query, max_num_fields=200) if parts.query else []
    except ValueError:
        return "", {}
    if not parts.netloc and not parts.path.startswith("/"):
        return "", {}
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault("campaign_id" if name.lower() == "utm_id" else name.lower(), value)
    return page_path(parts.path or "/"), query


def page_path(path: str) -> str:
    """The path without segments that could name a person (addresses, long numbers, tokens)."""
    segments = normalise.text(path, 300).split("/")
    return "/".join(":id" if _PRIVATE_SEGMENT.search(segment) else segment for segment in segments)[:200]


def _domain(site: Site) -> str:
    return site.domain
