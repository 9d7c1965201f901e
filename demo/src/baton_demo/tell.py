"""Print what happened, from the services' own answers: nothing here is remembered from the play."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import httpx2
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from baton_cli import output, report
from baton_demo.place import Client, Memory, Place

_COUNTED = ("planned spend", "planned leads", "leads", "touches")
MODELS = ("first", "last_non_direct", "position")
SERVICES = ("lead-intake", "qualification", "sales-feedback", "attribution")


@dataclass(frozen=True, slots=True)
class Signed:
    """The agreement in force, as the service gives it out, checked here."""

    document: Mapping[str, Any]
    digest: str
    same_bytes: bool
    history_intact: bool
    active: Mapping[str, Any]


async def tell(place: Place, memory: Memory, console: Console) -> None:
    """Ask the four services and print: funnel, agreement, one lead, rejections, revenue, receipts, addresses."""
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
        client = Client(place, http)
        signed = await _agreement(client)
        console.print()
        console.rule("[bold]The month")
        await _funnel(client, console)
        console.print(_signatures(signed, memory))
        shown = await interesting_lead(client)
        console.print(await _lead(client, signed, shown))
        console.print(await _rejections(client))
        console.print(await _rules(client, signed))
        await _revenue(client, console)
        console.print(await _campaigns(client))
        console.print(await _receipts(client))
        console.print(_addresses(place, shown or "LEAD_ID"))


def heading(title: str, note: str = "") -> Text:
    """A title, with what it means in a dimmer voice."""
    text = Text("\n").append(title, style="bold")
    return text.append(f"  {note}", style="dim") if note else text


def table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """A plain table; `numbers` are the columns to be set right."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
    return made


async def _funnel(client: Client, console: Console) -> None:
    console.print(heading("Funnel", "every stage has one owner"))
    report.tell_funnel(await client.get("attribution", "/v1/reports/funnel"))
    decisions = await client.get("qualification", "/v1/reports/decisions")
    outcomes = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in decisions["by_outcome"].items() if n)
    console.print(Text(f"leads now: {outcomes}"))


async def _agreement(client: Client) -> Signed:
    active = await client.get("qualification", "/v1/agreements/active")
    digest = active["digest"]
    answer = await client.http.get(
        f"{client.place.api['qualification']}/v1/agreements/{digest}/canonical",
        headers={"Authorization": f"Bearer {client.place.api_key}"},
    )
    # The digest is recomputed here: two signatures are worth what they stand under.
    same = hashlib.sha256(answer.content).hexdigest() == digest
    history = await client.post("qualification", "/v1/agreements/history/verification")
    return Signed(answer.json(), digest, same, history["intact"], active)


def _signatures(signed: Signed, memory: Memory) -> Group:
    document = signed.document
    rows = table("signed by", "for", "at", "over digest")
    for one in signed.active["signatures"]:
        person = one["person_id"]
        name = memory.people.get(person, {}).get("name", person)
        rows.add_row(name, one["department"], one["signed_at"][:19].replace("T", " ") + " Z", f"{signed.digest[:16]}…")
    good = signed.same_bytes and signed.history_intact
    check = (
        "verified: the bytes that run have this digest, and every signature in the history holds"
        if good
        else "NOT VERIFIED: the bytes have another digest, or the history is not as it was written"
    )
    rules = sum(len(document.get(part, ())) for part in ("gates", "disqualifiers", "fit", "engagement"))
    about = f"{document['title']['en']}: {rules} rules, threshold {document['threshold']} points"
    return Group(
        heading("Agreement", about),
        rows,
        Text(f"sha-256 {signed.digest}\n{check}", style="" if good else "bold red"),
    )


async def _lead(client: Client, signed: Signed, lead_id: str | None) -> Group:
    if lead_id is None:
        return Group(heading("One lead"), Text("  no deal was won yet"))
    items = await timeline(client, lead_id)
    begun = items[0]["at"] if items else ""
    rows = table("when (UTC)", "service", "what")
    day = ""
    for item in items:
        date, clock = item["at"][:10], item["at"][11:19]
        rows.add_row(f"{date if date != day else '          '} {clock}", item["service"], _what(item))
        day = date
    return Group(
        heading("One lead", f"{lead_id}, from {begun[:10]}; touches keep their dates, the rest happened just now"),
        rows,
        await _score(client, lead_id, signed),
    )


async def interesting_lead(client: Client) -> str | None:
    """The won lead that came by the most channels, with the longest story among those."""
    won = [deal["lead_id"] for deal in await client.pages("sales-feedback", "/v1/deals", state="won")]
    best: tuple[int, int, str] | None = None
    for lead_id in dict.fromkeys(won[:60]):
        items = await timeline(client, lead_id)
        channels = {item["detail"].get("channel") for item in items if item["kind"] == "touch"}
        best = max(best or (0, 0, ""), (len(channels), len(items), lead_id))
    return best[2] if best else None


async def timeline(client: Client, lead_id: str) -> list[dict[str, Any]]:
    """What the four services know of a lead, in the order of time."""
    items: list[dict[str, Any]] = []
    for service in SERVICES:
        items += (await client.get(service, f"/v1/leads/{lead_id}/timeline"))["items"]
    return sorted(items, key=lambda item: (item["at"], SERVICES.index(item["service"])))


# What is worth a look beside the title, by kind of item; amounts are shown with their currency.
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "touch": ("utm_source", "utm_campaign", "page", "referrer_domain"),
    "handoff": ("rep_id",),
    "feedback": ("rep_id", "reason"),
    "contact": ("means", "reached"),
    "deal": ("reason",),
}


def _what(item: Mapping[str, Any]) -> Text:
    detail = item["detail"]
    shown = [f"{name.removesuffix('_id')} {detail[name]}" for name in _SHOWN.get(item["kind"], ()) if name in detail]
    if detail.get("amount_minor"):
        shown.append(output.money(detail["amount_minor"], detail["currency"]))
    text = Text(item["title"])
    return text.append("  " + ", ".join(shown), style="dim") if shown else text


async def _score(client: Client, lead_id: str, signed: Signed) -> Group:
    decisions = (await client.get("qualification", f"/v1/leads/{lead_id}/decisions"))["items"]
    # The one that handed the lead over: the earliest of those that qualified it.
    decision = [d for d in decisions if d["outcome"] == "qualified"][-1]
    again = await client.post("qualification", f"/v1/decisions/{decision['decision_id']}/verification")
    sentences = {
        rule["id"]: rule.get("en", "") for part in ("fit", "engagement") for rule in signed.document.get(part, ())
    }
    rows = table("rule", "group", "points", "because", numbers=("points",))
    total = 0
    for one in decision["contributions"]:
        total += one["points"]
        times = f" ({one['occurrences']} times)" if one.get("occurrences", 1) > 1 else ""
        rows.add_row(one["rule"], one["group"], f"{one['points']:+d}", sentences.get(one["rule"], "") + times)
    same = "the same as the score" if total == decision["score"] else f"BUT THE SCORE IS {decision['score']}"
    rows.add_row("sum", "", f"{total:+d}", f"{same}; threshold {decision['threshold']}", style="bold")
    verified = "made again: identical bytes" if again["identical"] else "MADE AGAIN IT DIFFERS"
    return Group(
        Text(f"\nWhy it was handed over (decision {decision['decision_id']}, {verified}):"),
        rows,
    )


async def _rejections(client: Client) -> Group:
    found = await client.get("sales-feedback", "/v1/reports/rejections")
    rows = table("family", "rejections", "reasons", numbers=("rejections",))
    by_family = sorted(found["by_reason"], key=lambda r: (-found["by_family"][r["family"]], r["family"], -r["count"]))
    for family, reasons in groupby(by_family, key=lambda r: r["family"]):
        told = ", ".join(f"{r['reason']} {r['count']}" for r in reasons)
        rows.add_row(family, str(found["by_family"][family]), told)
    return Group(
        heading("Rejected by sales", f"{found['total']} leads, each for a reason the agreement names"),
        rows,
    )


async def _rules(client: Client, signed: Signed) -> Group:
    decisions = await client.get("qualification", "/v1/reports/decisions")
    names = ("handed over", "accepted", "rejected", "of them")
    rows = table("rule", *names, "because", numbers=names)
    sentences = {rule["id"]: rule.get("en", "") for rule in signed.document["fit"]}

    def share(rule: Mapping[str, Any]) -> float:
        return float(rule["rejected"] / rule["qualified"])

    told = [rule for rule in decisions["by_rule"] if rule["rule"] in sentences and rule["qualified"]]
    for rule in sorted(told, key=share, reverse=True):
        counts = (str(rule[name]) for name in ("qualified", "accepted", "rejected"))
        rows.add_row(rule["rule"], *counts, f"{share(rule):.0%}", sentences[rule["rule"]])
    return Group(
        heading("Rules and what sales made of them", "evidence for the next version of the agreement"),
        rows,
    )


async def _revenue(client: Client, console: Console) -> None:
    console.print(heading("Revenue by channel", "the same won deals under three models, to the cent"))
    asked = {"model": list(MODELS), "by": "channel"}
    report.tell_attribution(await client.get("attribution", "/v1/reports/attribution", **asked))


async def _campaigns(client: Client) -> Group:
    waiting = await client.pages("lead-intake", "/v1/campaigns/unmatched")
    rows = table("campaign", "owner", "planned spend", "planned leads", "leads", "touches", numbers=_COUNTED)
    for one in await client.pages("lead-intake", "/v1/campaigns"):
        spend = output.money(one["planned_spend_minor"], one["currency"]) if one["currency"] else ""
        planned = "" if one["planned_leads"] is None else str(one["planned_leads"])
        reached = (str(one["reached"][name]) for name in ("leads", "touches"))
        rows.add_row(one["name"], f"{one['owner_department']}/{one['owner_person']}", spend, planned, *reached)
    told = ", ".join(f"{one['key']} ({one['touches']} touches)" for one in waiting)
    rest = f"in the worklist, of no campaign yet: {told}" if waiting else "every touch that names a campaign has one"
    return Group(heading("Campaigns", "what was planned, what came of it"), rows, Text(rest))


async def _receipts(client: Client) -> Group:
    balance = await client.get("lead-intake", "/v1/receipts/balance")
    outcomes = (
        *("created", "matched", "touch_only", "updated", "duplicate"),
        *("refused", "quarantined", "pending", "test"),
    )
    shown = ("source", "entries", *(o.replace("_", " ") for o in outcomes))
    rows = table(*shown, numbers=shown[1:])
    total = {name: sum(one[name] for one in balance["items"]) for name in ("entries", *outcomes)}
    for one in sorted(balance["items"], key=lambda s: -s["entries"]):
        rows.add_row(one["source_id"], str(one["entries"]), *(str(one[o] or "") for o in outcomes))
    rows.add_row("all", str(total["entries"]), *(str(total[o]) for o in outcomes), style="bold")
    exact = total["entries"] == sum(total[o] for o in outcomes)
    note = "every entry has ended somewhere: the sums agree" if exact else "THE SUMS DO NOT AGREE"
    return Group(heading("Receipts", note), rows)


def _addresses(place: Place, lead_id: str) -> Group:
    rows = table("service", "API (/openapi.json)", "public webhooks", "metrics of api and worker")
    for service in SERVICES:
        hooks = place.public.get(service, "")
        ports = " ".join(place.metrics[service])
        rows.add_row(service, place.api[service], f"{hooks}/v1/webhooks/" if hooks else "", ports)
    tries = (
        "baton doctor",
        f"baton lead show {lead_id}",
        "baton report attribution --model linear --by campaign",
        "baton report funnel",
        'baton campaign assign utm:november-digest digest --name "Digest"',
        "baton receipts list --state quarantined",
        "baton agreement show",
        "baton agreement evidence",
        "baton agreement verify",
        "baton events tail --json",
    )
    return Group(
        heading("Look around"),
        rows,
        Text(f"Kafka  {place.bootstrap_servers}\n\ntry next:"),
        *(Text(f"  .venv/bin/{line}", style="cyan") for line in tries),
    )
