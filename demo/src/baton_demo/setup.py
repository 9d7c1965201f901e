"""Prepare the system as its owner would: doors for the providers, reps, CRMs, and an agreement with two signatures."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from baton_demo.month import DAYS
from baton_demo.payloads import generic, google_ads, hubspot_deals, pipedrive_deals
from baton_demo.payloads.wire import Door
from baton_demo.place import Client, Memory, remember

REPS = (
    ("olga", "Olga Brandt", "901", "11"),
    ("tom", "Tom Fletcher", "902", "12"),
    ("marta", "Marta Pardo", "903", "13"),
)
PEOPLE = (
    ("anna", "Anna Lindner, head of marketing", "marketing"),
    ("boris", "Boris Haas, head of sales", "sales"),
)
DEPARTMENTS = {person: department for person, _, department in PEOPLE}
AGREEMENT = Path("libs/agreement/examples/agreement.yaml")

# id, provider, name, what the source maps and sets
SOURCES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("google-leads", "google_ads", "Google Ads lead form", {}),
    ("demo-form", "typeform", "Demo request (Typeform)", {}),
    ("newsletter", "tally", "Newsletter (Tally)", {}),
    ("hubspot-contacts", "hubspot", "HubSpot workflow", {}),
    (
        "webinar",
        "standard_webhooks",
        "Webinar platform",
        {"mapping": {"occurred_at": "registered_at"}, "settings": {"touch_kind": "event"}},
    ),
    (
        "partner-portal",
        "generic",
        "Portal of the partners (JSON)",
        {"mapping": generic.PORTAL_MAPPING, "settings": {"signature_header": generic.SIGNATURE_HEADER}},
    ),
    ("site-form", "generic", "Contact form of the site (urlencoded)", {"mapping": generic.SITE_MAPPING}),
)
# code, name, person, product, segment, spend in cents, leads, keys. Two links of the month are left for the worklist.
CAMPAIGNS: tuple[tuple[str, str, str, str, str, int, int, tuple[str, ...]], ...] = (
    (
        "google-handoff",
        "Google: lead handoff, DACH",
        "anna",
        "handoff",
        "smb-dach",
        900_000,
        90,
        (f"campaign_id:google/{google_ads.CAMPAIGN_ID}", "utm:lead-handoff-dach"),
    ),
    ("ebook", "Facebook: e-book", "anna", "handoff", "smb", 400_000, 100, ("utm:ebook-lookalike",)),
    ("heads-of-revenue", "LinkedIn: heads of revenue", "anna", "suite", "mid", 650_000, 60, ("utm:heads-of-revenue",)),
    ("handoff-live", "Webinar: handoff live", "anna", "handoff", "", 120_000, 60, ("utm:handoff-live",)),
    ("partners", "Partners 2026", "boris", "suite", "mid", 0, 30, ("utm:partner-2026",)),
)
UNSIGNED = "site-form"
LOST_REASONS = {
    "Too expensive": "price",
    "Went with a competitor": "competitor",
    "No decision": "no_decision",
    "Missing feature": "missing_feature",
}


async def open_doors(client: Client, memory: Memory) -> dict[str, Door]:
    """The sources, made where they are missing. Their addresses hold tokens and are shown once: they are kept."""
    for source, provider, name, more in SOURCES:
        if source in memory.doors:
            continue
        secret = "" if source == UNSIGNED else memory.secret(source, whsec=provider == "standard_webhooks")
        # Kept before it is used, so that a run that ends here goes on with the same secret.
        remember(client.place.home, memory)
        made = await client.post(
            "lead-intake",
            "/v1/sources",
            {"id": source, "provider": provider, "name": name, "default_region": "DE"}
            | ({"secrets": [secret]} if secret else {})
            | more
            # Throw-away mailboxes come in here, so that the agreement can be seen to turn them away.
            | {"settings": {"disposable": "accept"} | more.get("settings", {})},
        )
        memory.doors[source] = made["webhook_url"]
        remember(client.place.home, memory)
    base = client.place.public["lead-intake"]
    return {
        source: Door(source, provider, base + memory.doors[source], memory.secrets.get(source, ""))
        for source, provider, _, _ in SOURCES
    }


async def plan_campaigns(client: Client, until: datetime) -> None:
    """What marketing planned for the month. A campaign that is there already stays."""
    there = {one["code"] for one in await client.pages("lead-intake", "/v1/campaigns")}
    first, last = (until - timedelta(days=DAYS)).date().isoformat(), until.date().isoformat()
    for code, name, person, product, segment, spend, leads, keys in CAMPAIGNS:
        if code not in there:
            body = {
                "code": code, "name": name, "owner_department": DEPARTMENTS[person],
                "owner_person": person, "product": product, "segment": segment, "starts_on": first, "ends_on": last,
                "planned_spend_minor": spend, "currency": "EUR", "planned_leads": leads, "keys": list(keys),
            }  # fmt: skip
            await client.post("lead-intake", "/v1/campaigns", body)


async def hire(client: Client) -> None:
    """The reps, with their numbers in both CRMs."""
    for rep, name, hubspot, pipedrive in REPS:
        body = {"id": rep, "name": name, "external_ids": {"hubspot": hubspot, "pipedrive": pipedrive}, "active": True}
        await client.post("sales-feedback", "/v1/reps", body)


async def connect_crms(client: Client, memory: Memory) -> None:
    """HubSpot with its pipeline, Pipedrive with the field that holds the lead."""
    await client.post(
        "sales-feedback",
        "/v1/crms",
        {
            "id": "hubspot",
            "kind": "hubspot",
            "secrets": [memory.secret("hubspot-crm")],
            "mapping": {
                "account": str(hubspot_deals.PORTAL_ID),
                "pipelines": {"default": {"closedwon": "won", "closedlost": "lost"}},
                "lost_reasons": LOST_REASONS,
                "product_property": "baton_product",
            },
        },
    )
    await client.post(
        "sales-feedback",
        "/v1/crms",
        {
            "id": "pipedrive",
            "kind": "pipedrive",
            "secrets": [f"baton:{memory.secret('pipedrive-crm')}"],
            "mapping": {
                "account": pipedrive_deals.COMPANY_ID,
                "lead_id_property": pipedrive_deals.LEAD_FIELD,
                "lost_reasons": LOST_REASONS,
            },
        },
    )


async def agree(client: Client, memory: Memory) -> str:
    """Both heads sign the same digest; returns it. An agreement that is in force already stays."""
    for person, name, department in PEOPLE:
        if person not in memory.people:
            made = await client.post(
                "qualification", "/v1/people", {"id": person, "name": name, "department": department}
            )
            memory.people[person] = {"api_key": made["api_key"], "department": department, "name": name}
            remember(client.place.home, memory)
    listed = await client.pages("qualification", "/v1/agreements")
    in_force = next((one["digest"] for one in listed if one["state"] == "active"), None)
    if in_force is not None:
        return str(in_force)
    proposed = await client.post("qualification", "/v1/agreements", content=agreement_file().read_bytes())
    digest = str(proposed["digest"])
    for person, _, _ in PEOPLE:
        await client.post(
            "qualification",
            f"/v1/agreements/{digest}/signatures",
            {"digest": digest},
            api_key=memory.people[person]["api_key"],
        )
    return digest


def agreement_file() -> Path:
    """The example agreement of the repository."""
    for directory in (Path.cwd(), *Path(__file__).resolve().parents):
        if (directory / AGREEMENT).is_file():
            return directory / AGREEMENT
    raise FileNotFoundError(f"{AGREEMENT}: start the demo in a working copy of the repository")
