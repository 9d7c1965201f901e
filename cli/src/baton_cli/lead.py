"""`baton lead`: one lead over all four services, and leads that are one person."""

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from baton_cli import merging, output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import DryRun, Failed, Json, Yes, items_of, when
from baton_cli.settings import SERVICES, Settings

app = typer.Typer(name="lead", no_args_is_help=True, help="Leads over all four services.")


@app.command()
def show(
    ctx: typer.Context,
    lead_id: Annotated[str, typer.Argument(help="The lead's id.", metavar="LEAD_ID")],
    *,
    as_json: Json = False,
) -> None:
    """Show what happened to a lead, in the order of time, and explain its score line by line. No personal data.

    Example: `baton lead show 01a05c06-…`
    """
    settings = settings_of(ctx)
    items, away = timeline(settings, lead_id)
    if not items and len(away) < len(SERVICES):
        raise Failed(f"no service knows the lead {lead_id}", "`baton events tail` shows the ids of leads as they come.")
    decision = explained(items)
    if as_json:
        output.json_value({"lead_id": lead_id, "items": items, "explanation": decision, "away": away})
    else:
        tell(lead_id, items, decision)
    if away:
        raise Failed(f"the timeline is not complete: {', '.join(away)} did not answer", "`baton doctor` says why.")


@app.command()
def find(
    ctx: typer.Context,
    *,
    region: Annotated[str, typer.Option(help="Country of a number without its code, such as DE.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=50, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """Find leads by name, company, e-mail address, phone number or the id of a provider or CRM. Shows personal data.

    The term is asked for on the terminal, or read from standard input: as an argument it would stay in the history of
    the shell and show in the list of processes.

    Example: `baton lead find` · `baton lead find --json < term.txt`
    """
    term = asked_for("Name, company, address, number or id")
    body = {"term": term, "region": region.upper(), "limit": limit}
    answer = call(settings_of(ctx), "lead-intake", "POST /v1/leads/search", body=body)
    if as_json:
        output.json_value(answer)
        return
    rows = [
        [i.get("lead_id"), when(i.get("created_at")), i.get("full_name"), i.get("company_name"),
         (i.get("account") or {}).get("id"), ", ".join([*(i.get("emails") or []), *(i.get("phones") or [])])]
        for i in items_of(answer)
    ]  # fmt: skip
    output.table(["lead", "since", "name", "company", "account", "reached by"], rows, empty="nobody is known by that")
    if answer.get("more"):
        output.note("There are more: say more of the person.")


def asked_for(what: str) -> str:
    """One line from the terminal, or from standard input where that is none. An empty one is wrong usage."""
    text = typer.prompt(what, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not (found := str(text).strip()):
        raise typer.BadParameter(f"{what}: type it, or give it on standard input")
    return found


FROM = Annotated[str, typer.Argument(help="The lead that will belong to the other.", metavar="FROM_LEAD_ID")]
INTO = Annotated[str, typer.Argument(help="The lead that stays canonical.", metavar="INTO_LEAD_ID")]


@app.command()
def merge(
    ctx: typer.Context,
    from_lead: FROM,
    into_lead: INTO,
    *,
    reason: Annotated[str, typer.Option(help="same_person, same_key, same_company_and_name, import, other.")] = (
        "same_person"
    ),
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Merge two leads after showing what would join. No fact is rewritten; `baton lead unmerge` takes it back.

    Example: `baton lead merge 01a05f11-… 01a05c06-… --dry-run`
    """
    merging.merge(ctx, LEADS, (from_lead, into_lead), reason=reason, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def unmerge(
    ctx: typer.Context,
    merge_id: Annotated[str, typer.Argument(help="The merge.", metavar="MERGE_ID")],
    *,
    reason: Annotated[str, typer.Option(help="different_persons, mistake, other.")] = "different_persons",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Undo a merge: both leads stand again as their own facts make them.

    Example: `baton lead unmerge 01a07777-… --reason mistake`
    """
    merging.unmerge(ctx, LEADS, merge_id, reason=reason, yes=yes, as_json=as_json)


@app.command()
def duplicates(
    ctx: typer.Context,
    *,
    kind: Annotated[str | None, typer.Option(help="keys or alike.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List leads that may be one person. Nothing is merged by itself.

    Example: `baton lead duplicates --kind alike`
    """
    found = pages(settings_of(ctx), "lead-intake", "/v1/merge-proposals", limit=limit, kind=kind)
    if as_json:
        output.json_value(found)
        return
    rows = [
        [p.get("from_lead_id"), p.get("into_lead_id"), p.get("kind"), p.get("score"), when(p.get("proposed_at"))]
        for p in found
    ]
    output.table(["lead", "may be", "because of", "alike>", "since"], rows, empty="nobody seems to be there twice")
    if rows:
        output.note(
            "`baton lead accept LEAD MAY_BE --dry-run` shows what would join; `baton lead dismiss LEAD MAY_BE` says "
            "that they are two."
        )


LEAD = Annotated[str, typer.Argument(help="A lead of the list.", metavar="LEAD_ID")]
MAY_BE = Annotated[str, typer.Argument(help="The lead that it may be.", metavar="MAY_BE_ID")]


@app.command()
def accept(
    ctx: typer.Context, lead: LEAD, may_be: MAY_BE, *, dry_run: DryRun = False, yes: Yes = False, as_json: Json = False
) -> None:
    """Accept a proposal of `baton lead duplicates`: merge the two, the older one stays canonical.

    Example: `baton lead accept 01a05f11-… 01a05c06-… --dry-run`
    """
    proposal = _proposal(ctx, lead, may_be)
    reason = "same_key" if proposal.get("kind") == "keys" else "same_company_and_name"
    pair = str(proposal["from_lead_id"]), str(proposal["into_lead_id"])
    merging.merge(ctx, LEADS, pair, reason=reason, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def dismiss(ctx: typer.Context, lead: LEAD, may_be: MAY_BE, *, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Dismiss a proposal of `baton lead duplicates`: they are two persons, and are not proposed again.

    Example: `baton lead dismiss 01a05f11-… 01a05c06-…`
    """
    proposal = _proposal(ctx, lead, may_be)
    if dry_run:
        if as_json:
            output.json_value(proposal)
        else:
            output.line("would be dismissed; nothing was changed")
        return
    pair = {name: proposal[name] for name in ("from_lead_id", "into_lead_id")}
    done = merging.write(ctx, "/v1/merge-proposals/dismiss", pair)
    if as_json:
        output.json_value(pair | done)
    else:
        output.line("dismissed: they stay two leads")


def _proposal(ctx: typer.Context, lead: str, may_be: str) -> dict[str, Any]:
    """The open proposal between two leads, whichever is named first. Raises Failed when there is none."""
    found = pages(settings_of(ctx), "lead-intake", "/v1/merge-proposals", limit=1_000, lead_id=lead)
    for proposal in found:
        if {proposal.get("from_lead_id"), proposal.get("into_lead_id")} == {lead, may_be}:
            return proposal
    raise Failed("there is no open proposal between these leads", "`baton lead duplicates` lists them.")


def _tell_preview(seen: dict[str, Any]) -> None:
    rows = [
        [
            side,
            p.get("lead_id"),
            p.get("source_id"),
            p.get("touches"),
            output.described(p.get("keys")),
            output.described(p.get("channels")),
            "yes" if p.get("consent_marketing") else "",
        ]
        for side, name in (("from", "from_leads"), ("into", "into_leads"))
        for p in items_of(seen.get(name))
    ]
    columns = ["", "lead", "source", "touches>", "keys", "channels", "consent"]
    output.table(columns, rows, empty="", title=f"Canonical would be {seen.get('canonical_lead_id')}")
    changed = seen.get("features_changed") or {}
    changes = [
        [name, output.described(c.get("before")), output.described(c.get("after"))] for name, c in changed.items()
    ]
    output.table(["feature", "now", "then"], changes, empty="the criteria would see nothing new")


LEADS = merging.Kind("lead", "/v1/merges", _tell_preview)


def timeline(settings: Settings, lead_id: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The items of all services, oldest first, and the services that did not answer."""
    items: list[dict[str, Any]] = []
    away = []
    for service in SERVICES:
        try:
            answer = call(settings, service, f"GET /v1/leads/{part(lead_id)}/timeline", missing_ok=True)
        except Failed:
            away.append(service)
            continue
        items += items_of(answer)
    # What the same moment holds stays in the order of the services: that is the way of the lead.
    return sorted(items, key=_moment_of), away


def _moment_of(item: dict[str, Any]) -> datetime:
    # Not by its text: services write fractions of a second or leave them out.
    try:
        return datetime.fromisoformat(str(item.get("at")))
    except ValueError:
        raise Failed(f"{item.get('service')} names no time that can be read: {item.get('at')}") from None


def explained(items: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The decision that explains the lead: the one by which it was handed over last, or else the latest."""
    decisions: list[dict[str, Any]] = [item["detail"] for item in items if item.get("kind") == "decision"]
    handed_over = [item["detail"].get("decision_id") for item in items if item.get("kind") == "qualified"]
    by_it = [d for d in decisions if handed_over and d.get("decision_id") == handed_over[-1]]
    found = by_it or decisions
    return found[-1] if found else None


def tell(lead_id: str, items: list[dict[str, Any]], decision: dict[str, Any] | None) -> None:
    """Print a timeline and the score behind it."""
    rows = [[when(item.get("at")), item.get("service"), item.get("title"), _detail(item)] for item in items]
    output.table(["when", "service", "what", ""], rows, empty="nothing yet", title=f"Lead {lead_id}")
    if decision is None:
        return
    contributions = items_of(decision.get("contributions"))
    stamp = decision.get("agreement") or {}
    output.line("")
    output.table(
        ["points>", "rule", "group", "times>"],
        [[f"{c.get('points', 0):+d}", c.get("rule"), c.get("group"), c.get("occurrences", 1)] for c in contributions],
        empty=f"stopped by {decision.get('stopped_by')}: no points were counted",
        title=f"Why: agreement version {stamp.get('version')}, digest {str(stamp.get('digest'))[:12]}…",
    )
    total = sum(int(c.get("points", 0)) for c in contributions)
    verdict = str(decision.get("outcome", "")).replace("_", " ")
    cell = decision.get("cell")
    bar = f"the cell is {cell}" if cell else f"the threshold is {decision.get('threshold')}"
    output.line(f"{total:+d} in all; {bar}: {verdict}")
    if total != decision.get("score"):
        raise Failed(
            f"the points sum to {total}, the score says {decision.get('score')}", "Report it: this must not be."
        )


def _detail(item: dict[str, Any]) -> str:
    detail = item.get("detail") or {}
    names = ("utm_campaign", "page", "reason", "means", "rep_id", "state")
    shown = [str(detail[name]) for name in names if detail.get(name)]
    if detail.get("amount_minor") is not None and detail.get("currency"):
        shown.append(output.money(detail["amount_minor"], str(detail["currency"])))
    return ", ".join(dict.fromkeys(shown))
