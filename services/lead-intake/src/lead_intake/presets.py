"""Ready-made settings of the generic source for tools whose bodies are free or known only by hearsay.

A preset is data: a mapping and settings that are copied into a new source and can be changed there like any other.
Nothing that is not proven is checked by it, so a wrong name in it costs a field and never a delivery. What is proven,
and by what: docs/providers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lead_intake.delivery import NOTHING


@dataclass(frozen=True, slots=True)
class Preset:
    """`mapping` and `settings` for a source of `provider`; `verified` says where its names come from."""

    id: str
    name: str
    verified: str
    steps: tuple[str, ...]
    mapping: Mapping[str, Any]
    settings: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    provider: str = "generic"


_ALL = (
    Preset(
        id="contact_form_7",
        name="Contact Form 7 (plug-in CF7 to Webhook)",
        verified="plug-in's source: one flat JSON object, tag to value; no id, no signature, no repetition",
        steps=(
            "In the form's tab Webhook, switch the integration on and put in the address that is printed.",
            "Choose Send special mail tags to get _url and _date; name hidden tags utm_source, utm_medium, gclid.",
            "Tags with other names go into the mapping: baton source test shows what is read.",
        ),
        mapping={
            "full_name": ["your-name", "name", "text-name"],
            "email": ["your-email", "email", "email-1"],
            "phone": ["your-tel", "tel-1", "tel", "phone"],
            "company_name": ["your-company", "company"],
            "message": ["your-message", "message"],
            "consent_marketing": ["acceptance", "acceptance-1", "your-consent"],
            "page_url": "_url",
        },
    ),
    Preset(
        id="wpforms",
        name="WPForms (Webhooks add-on)",
        verified="from memory: keys and values are chosen by the user, a secret may be sent as a header",
        steps=(
            "In the form's settings, Webhooks: method POST, format JSON, the address that `baton source add` prints.",
            "Name the keys of the body email, phone, name, company, message, consent, page_url and entry_id.",
            "If you set a secret there, give it to the source as well and name its header in secret_header.",
        ),
        mapping={
            "id": ["entry_id", "entryId"],
            "full_name": ["name", "full_name"],
            "first_name": ["first_name", "name.first"],
            "last_name": ["last_name", "name.last"],
            "email": "email",
            "phone": "phone",
            "company_name": "company",
            "message": "message",
            "consent_marketing": "consent",
            "page_url": ["page_url", "url_referer"],
        },
    ),
    Preset(
        id="call_tracking",
        name="Call tracking",
        verified="from memory: the names that the common tools use; the mapping can be tried before it is saved",
        steps=(
            "In the tool, add a webhook for finished calls (POST, JSON or form) with the address that is printed.",
            "Give the source the country of the numbers (--region), for callers without a country code.",
            "Under numbers in the mapping say which campaign a dialled number stands for: "
            'numbers: {"+34911222333": {utm_source: google, utm_medium: cpc}}.',
        ),
        mapping={
            "id": ["call_id", "callId", "call_session_id", "call.id", "uuid", "id"],
            "phone": [
                "caller_number", "caller_phone_number", "customer_phone_number", "contact_phone_number", "caller_id",
                "caller.number", "from", "caller",
            ],
            "full_name": ["caller_name", "customer_name", "contact_full_name"],
            "dialled_number": [
                "dialled_number", "dialed_number", "tracking_phone_number", "tracking_number", "called_number",
                "virtual_phone_number", "destination_number", "to", "called",
            ],
            "call_seconds": ["duration", "call_duration", "duration_seconds", "talk_duration", "total_duration"],
            "anonymous_id": ["visitor_id", "visitor.id", "visitor_sid", "session_id"],
            "occurred_at": ["start_time", "started_at", "called_at", "call_time"],
            "page_url": ["landing_page_url", "landing_page", "page_url"],
            "referrer": ["referrer", "referrer_url", "referring_url"],
        },
        settings={"touch_kind": "call"},
    ),
    Preset(
        id="exhibition",
        name="Exhibition: a form for the phone",
        verified="our own form: nothing to verify",
        steps=(
            "Open the form's address on the phone or tablet at the stand, or print it as a QR code.",
            "form_title, form_campaign and form_privacy_url in the settings: what stands above it, whose it is.",
        ),
        mapping={},
        settings={"form_page": "on", "touch_kind": "event"},
    ),
)  # fmt: skip

PRESETS: Mapping[str, Preset] = {preset.id: preset for preset in _ALL}
