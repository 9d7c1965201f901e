"""`baton campaign`: what marketing planned, which touches belong to it, and those that belong to nothing yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import DryRun, Failed, Json, when
from baton_cli.settings import Settings

INTAKE = "lead-intake"
ADDRESS = "/v1/campaigns"
EVERY = 20_000
FIELDS = (
    "name", "owner_department", "owner_person", "product", "segment", "starts_on", "ends_on", "planned_spend_minor",
    "currency", "planned_leads", "keys", "archived",
)  # fmt: skip
"""What a change sends, in the names of the API."""

Code = Annotated[str, typer.Argument(help="The campaign's code.")]
Name = Annotated[str | None, typer.Option(help="The name.")]
Owner = Annotated[str | None, typer.Option(help="Department and person, such as marketing/anna; either may be empty.")]
Product = Annotated[str | None, typer.Option(help="A code.")]
Segment = Annotated[str | None, typer.Option(help="A code.")]
From = Annotated[str | None, typer.Option("--from", help="First day, such as 2026-09-01; empty for none.")]
Until = Annotated[str | None, typer.Option("--until", help="Last day, included; empty for none.")]
Spend = Annotated[str | None, typer.Option(help="Planned spend in minor units, such as 1200000EUR; empty for none.")]
Leads = Annotated[int | None, typer.Option(min=0, help="Planned leads.")]

app = typer.Typer(name="campaign", no_args_is_help=True, help="Campaigns, and which touches belong to them.")


@app.command("list")
def list_campaigns(
    ctx: typer.Context,
    *,
    archived: Annotated[bool, typer.Option("--archived", help="The archived ones instead.")] = False,
    as_json: Json = False,
) -> None:
    """List campaigns with what they planned and reached.

    Example: `baton campaign list`
    """
    found = pages(settings_of(ctx), INTAKE, ADDRESS, limit=EVERY, archived="true" if archived else "false")
    if as_json:
        output.json_value(found)
        return
    rows = [
        [c["code"], c["name"], _owner(c), _period(c), _spend(c), _of(c["reached"]["leads"], c["planned_leads"]),
         c["reached"]["touches"]]
        for c in found
    ]  # fmt: skip
    columns = ["campaign", "name", "owner", "period", "planned spend>", "leads>", "touches>"]
    output.table(columns, rows, empty="no campaigns")


@app.command()
def show(ctx: typer.Context, code: Code, *, as_json: Json = False) -> None:
    """Show a campaign: plan, what it reached, its keys, and who changed it.

    Example: `baton campaign show autumn-webinar`
    """
    settings = settings_of(ctx)
    one = call(settings, INTAKE, f"GET {ADDRESS}/{part(code)}")
    changes = output.items_of(call(settings, INTAKE, f"GET {ADDRESS}/{part(code)}/changes"))
    if as_json:
        output.json_value({**one, "changes": changes})
        return
    output.line(f"{one['code']}: {one['name']}{' (archived)' if one['archived'] else ''}", style="bold")
    rows = [
        ["owner", _owner(one)],
        ["product", one["product"]],
        ["segment", one["segment"]],
        ["period", _period(one)],
        ["planned spend", _spend(one)],
        ["leads", _of(one["reached"]["leads"], one["planned_leads"])],
        ["touches", one["reached"]["touches"]],
        *(["key", key] for key in one["keys"]),
    ]
    output.table(["", ""], [row for row in rows if row[1] != ""], empty="")
    told = [[c["version"], when(c["changed_at"]), c["changed_by"]] for c in changes]
    output.table(["version>", "since", "by key"], told, empty="", title="Changes")


@app.command()
def add(
    ctx: typer.Context,
    code: Code,
    *,
    name: Annotated[str, typer.Option(help="The name.")],
    owner: Owner = None,
    product: Product = None,
    segment: Segment = None,
    starts_on: From = None,
    ends_on: Until = None,
    spend: Spend = None,
    leads: Leads = None,
    keys: Annotated[
        list[str] | None, typer.Option("--key", help="utm:NAME, campaign_id:google/ID, ad_id:…, form_id:SOURCE/ID.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a campaign; touches that carry its keys follow, those that came before as well.

    Example: `baton campaign add autumn-webinar --name "Autumn webinar" --key utm:handoff-live --leads 80`
    """
    told = _told(name, owner, product, segment, starts_on, ends_on, spend, leads)
    body = {"code": code, **told, "keys": keys or []}
    _done(call(settings_of(ctx), INTAKE, f"POST {ADDRESS}", body=body), as_json=as_json)


@app.command("set")
def set_campaign(
    ctx: typer.Context,
    code: Code,
    *,
    name: Name = None,
    owner: Owner = None,
    product: Product = None,
    segment: Segment = None,
    starts_on: From = None,
    ends_on: Until = None,
    spend: Spend = None,
    leads: Leads = None,
    keys: Annotated[list[str] | None, typer.Option("--key", help="A key more.")] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop-key", help="A key less.")] = None,
    as_json: Json = False,
) -> None:
    """Change what is named and leave the rest; touches follow keys and periods.

    Examples: `baton campaign set autumn-webinar --until 2026-12-15` · `… --drop-key utm:handoff-live`
    """
    told = _told(name, owner, product, segment, starts_on, ends_on, spend, leads)
    _change(settings_of(ctx), code, told, keys=keys or [], drop=drop or [], as_json=as_json)


@app.command()
def archive(
    ctx: typer.Context,
    code: Code,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back into the list.")] = False,
    as_json: Json = False,
) -> None:
    """Take a campaign out of the list. Its touches stay its own, and so do late ones.

    Example: `baton campaign archive autumn-webinar`
    """
    _change(settings_of(ctx), code, {"archived": not undo}, keys=[], drop=[], as_json=as_json)


@app.command("import")
def import_campaigns(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="CSV with the fields as columns.", exists=True)] = None,
    *,
    of: Annotated[str, typer.Option("--of", help="Instead: campaigns of an export, by the source of its import.")] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add and change campaigns by a sheet, all rows or none; or make records of an imported export's campaigns.

    Examples: `baton campaign import campaigns.csv --dry-run` · `baton campaign import --of crm-history`
    """
    if (file is None) == (not of):
        raise typer.BadParameter("name a file, or say --of SOURCE")
    settings = settings_of(ctx)
    if file is not None:
        content = (file.read_bytes(), "text/csv")
        params = {"dry_run": "true" if dry_run else "false"}
        done = call(settings, INTAKE, f"POST {ADDRESS}/sheet", params=params, content=content)
    else:
        done = call(settings, INTAKE, f"POST {ADDRESS}/imported", body={"source": of, "dry_run": dry_run})
    if as_json:
        output.json_value(done)
        return
    for word in ("created", "changed"):
        for code in done.get(word, []):
            output.line(f"{code} {'would be ' if dry_run else ''}{word}")
    rest = f"{done['unchanged']} unchanged" if "unchanged" in done else f"{done['claimed']} had a campaign already"
    output.line(rest + ("; nothing was changed" if dry_run else ""))


@app.command()
def unmatched(
    ctx: typer.Context,
    *,
    ignored: Annotated[bool, typer.Option("--ignored", help="What was set aside.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Lines to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List touches that belong to no campaign, those with the most touches first.

    Examples: `baton campaign unmatched` · `baton campaign assign utm:spring-sale spring-sale`
    """
    asked = "true" if ignored else "false"
    found = pages(settings_of(ctx), INTAKE, f"{ADDRESS}/unmatched", limit=EVERY, ignored=asked)
    found.sort(key=lambda one: (-int(one["touches"]), str(one["key"])))
    if as_json:
        output.json_value(found)
        return
    rows = [
        [one["key"], f"{one['touches']}{'+' if one['more'] else ''}", one["leads"], when(one["first_seen"])[:10],
         when(one["last_seen"])[:10], one["example"].get("source_id", ""), one["example"].get("page", "")]
        for one in found[:limit]
    ]  # fmt: skip
    columns = ["key", "touches>", "leads>", "first", "last", "source", "page, such as"]
    output.table(columns, rows, empty="every touch with a campaign in its link or ad belongs to one")
    if len(found) > limit:
        output.note(f"{len(found) - limit} more: --limit {len(found)}")


@app.command()
def assign(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="A key of `baton campaign unmatched`.")],
    code: Annotated[str, typer.Argument(help="The campaign's code.")] = "",
    *,
    name: Annotated[str | None, typer.Option(help="Make the campaign under this name if there is none.")] = None,
    ignore: Annotated[bool, typer.Option("--ignore", help="Leave its touches without a campaign.")] = False,
    heed: Annotated[bool, typer.Option("--heed", help="Ignore it no longer.")] = False,
    as_json: Json = False,
) -> None:
    """Give touches of the worklist to a campaign, or set them aside.

    Examples: `baton campaign assign utm:spring-sale spring-sale --name "Spring sale"` · `… utm:test --ignore`
    """
    if sum((bool(code), ignore, heed)) != 1:
        raise typer.BadParameter("name a campaign, or say --ignore or --heed")
    settings = settings_of(ctx)
    if code:
        body = {"key": key, "campaign": code, "create": None if name is None else {"name": name}}
        _done(call(settings, INTAKE, f"POST {ADDRESS}/unmatched/assign", body=body), as_json=as_json)
        return
    done = call(settings, INTAKE, f"POST {ADDRESS}/unmatched/ignore", body={"key": key, "ignored": ignore})
    if as_json:
        output.json_value(done)
    else:
        output.line(f"{done['key']} is {'ignored' if done['ignored'] else 'in the worklist'}")


def _change(
    settings: Settings, code: str, told: Mapping[str, Any], *, keys: list[str], drop: list[str], as_json: bool
) -> None:
    present = call(settings, INTAKE, f"GET {ADDRESS}/{part(code)}")
    missing = [key for key in drop if key not in present["keys"]]
    if missing:
        raise Failed(f"{code} has no key {missing[0]}", f"It has {', '.join(present['keys']) or 'none'}.")
    body = {name: present[name] for name in FIELDS} | dict(told)
    body["keys"] = [*(key for key in present["keys"] if key not in drop), *keys]
    headers = {"If-Match": f'"{present["version"]}"'}
    _done(call(settings, INTAKE, f"PUT {ADDRESS}/{part(code)}", body=body, headers=headers), as_json=as_json)


def _told(
    name: str | None, owner: str | None, product: str | None, segment: str | None, starts_on: str | None,
    ends_on: str | None, spend: str | None, leads: int | None,
) -> dict[str, Any]:  # fmt: skip
    """What the options name, in the fields of the API; an empty text empties."""
    told: dict[str, Any] = {
        field: value
        for field, value in (("name", name), ("product", product), ("segment", segment))
        if value is not None
    }
    if owner is not None:
        department, _, person = owner.partition("/")
        told |= {"owner_department": department, "owner_person": person}
    told |= {field: day or None for field, day in (("starts_on", starts_on), ("ends_on", ends_on)) if day is not None}
    if spend is not None:
        amount, currency = spend.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ "), spend.lstrip("0123456789 ")
        if spend and not amount.isdecimal():
            raise typer.BadParameter("minor units and a currency, such as 1200000EUR", param_hint="--spend")
        told |= {"planned_spend_minor": int(amount) if spend else None, "currency": currency}
    if leads is not None:
        told["planned_leads"] = leads
    return told


def _done(one: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json_value(one)
    else:
        output.line(f"{one['code']} stands at version {one['version']}; earlier touches follow by themselves")


def _owner(one: Mapping[str, Any]) -> str:
    return "/".join(word for word in (one["owner_department"], one["owner_person"]) if word)


def _period(one: Mapping[str, Any]) -> str:
    first, last = one["starts_on"] or "", one["ends_on"] or ""
    return f"{first} – {last}" if first or last else ""


def _spend(one: Mapping[str, Any]) -> str:
    spend = one["planned_spend_minor"]
    return "" if spend is None else output.money(spend, one["currency"])


def _of(reached: int, planned: int | None) -> str:
    return str(reached) if planned is None else f"{reached} of {planned}"
