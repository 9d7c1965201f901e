"""`baton account`: the companies that leads belong to."""

from typing import Annotated, Any

import typer

from baton_cli import merging, output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import DryRun, Json, Yes, items_of, when

app = typer.Typer(name="account", no_args_is_help=True, help="The companies that leads belong to.")

Account = Annotated[str, typer.Argument(help="The account's id.", metavar="ACCOUNT_ID")]
From = Annotated[str, typer.Argument(help="The account that will belong to the other.", metavar="FROM_ACCOUNT_ID")]
Into = Annotated[str, typer.Argument(help="The account that stays canonical.", metavar="INTO_ACCOUNT_ID")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    domain: Annotated[str | None, typer.Option(help="With this web domain.")] = None,
    name: Annotated[str | None, typer.Option(help="With these words in the name.")] = None,
    crm: Annotated[str | None, typer.Option(help="Whose --company-id it is.")] = None,
    company_id: Annotated[str | None, typer.Option(help="The id of the company in that CRM.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List accounts, newest first.

    Example: `baton account list --domain acme.example`
    """
    found = pages(
        settings_of(ctx),
        "lead-intake",
        "/v1/accounts",
        limit=limit,
        domain=domain,
        name=name,
        crm=crm,
        company_id=company_id,
    )
    if as_json:
        output.json_value(found)
        return
    rows = [
        [
            a.get("id"),
            a.get("name"),
            when(a.get("created_at")),
            "" if a.get("canonical_account_id") == a.get("id") else a.get("canonical_account_id"),
        ]
        for a in found
    ]
    output.table(["account", "name", "since", "merged into"], rows, empty="no account is known by that")


@app.command()
def show(ctx: typer.Context, account_id: Account, *, as_json: Json = False) -> None:
    """Show an account with its keys, its newest leads and its merges.

    Example: `baton account show 01a05c06-…`
    """
    found = call(settings_of(ctx), "lead-intake", f"GET /v1/accounts/{part(account_id)}")
    if as_json:
        output.json_value(found)
        return
    output.line(f"{found.get('name') or 'without a name'}, {found.get('leads_total')} leads")
    if found.get("canonical_account_id") != found.get("id"):
        output.line(f"merged into {found.get('canonical_account_id')}")
    rows = [["domain", domain] for domain in found.get("domains") or []]
    rows += [[f"id in {c.get('crm')}", c.get("id")] for c in items_of(found.get("company_ids"))]
    rows += [["tax number", number] for number in found.get("tax_numbers") or []]
    output.table(["known by", ""], rows, empty="known by nothing any more")
    output.table(["newest leads"], [[lead] for lead in (found.get("lead_ids") or [])[:10]], empty="no lead")
    merges = [
        [
            m.get("id"),
            m.get("from_account_id"),
            m.get("into_account_id"),
            m.get("decided_by"),
            m.get("reason"),
            "" if m.get("active") else "undone",
        ]
        for m in items_of(found.get("merges"))
    ]
    if merges:
        output.table(["merge", "from", "into", "by", "reason", ""], merges, empty="")


@app.command()
def merge(
    ctx: typer.Context,
    from_account: From,
    into_account: Into,
    *,
    reason: Annotated[str, typer.Option(help="same_company, same_tax_number, import, other.")] = "same_company",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Merge two accounts after showing what would join. No fact is rewritten; `baton account unmerge` takes it back.

    Example: `baton account merge 01a05f11-… 01a05c06-… --dry-run`
    """
    merging.merge(ctx, ACCOUNTS, (from_account, into_account), reason=reason, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def unmerge(
    ctx: typer.Context,
    merge_id: Annotated[str, typer.Argument(help="The merge.", metavar="MERGE_ID")],
    *,
    reason: Annotated[str, typer.Option(help="different_companies, mistake, other.")] = "different_companies",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Undo a merge: both accounts stand again as their own leads make them.

    Example: `baton account unmerge 01a07777-… --reason mistake`
    """
    merging.unmerge(ctx, ACCOUNTS, merge_id, reason=reason, yes=yes, as_json=as_json)


@app.command()
def proposals(
    ctx: typer.Context,
    *,
    state: Annotated[str, typer.Option(help="open, merged or dismissed.")] = "open",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List accounts that may be one company. Only equal tax numbers are merged by themselves.

    Example: `baton account proposals`
    """
    found = pages(settings_of(ctx), "lead-intake", "/v1/account-proposals", limit=limit, state=state)
    if as_json:
        output.json_value(found)
        return
    rows = [
        [
            p.get("from_account_id"),
            p.get("from_name"),
            p.get("into_account_id"),
            p.get("into_name"),
            p.get("kind"),
            when(p.get("proposed_at")),
        ]
        for p in found
    ]
    columns = ["account", "name", "may be", "name", "because of", "since"]
    output.table(columns, rows, empty="no company seems to be there twice")
    if rows:
        output.note("`baton account merge ACCOUNT MAY_BE --dry-run` shows what would join; `dismiss` parts them.")


@app.command()
def dismiss(ctx: typer.Context, from_account: From, into_account: Into, *, as_json: Json = False) -> None:
    """Say that two accounts are two companies: they are not proposed again.

    Example: `baton account dismiss 01a05f11-… 01a05c06-…`
    """
    pair = {"from_account_id": from_account, "into_account_id": into_account}
    done = merging.write(ctx, "/v1/account-proposals/dismiss", pair)
    if as_json:
        output.json_value(done)
    else:
        output.line("they are two companies")


def _tell_preview(seen: dict[str, Any]) -> None:
    rows = [
        [side, a.get("account_id"), a.get("name"), a.get("leads"), ", ".join(a.get("domains") or [])]
        for side, name in (("from", "from_accounts"), ("into", "into_accounts"))
        for a in items_of(seen.get(name))
    ]
    columns = ["", "account", "name", "leads>", "domains"]
    output.table(columns, rows, empty="", title=f"Canonical would be {seen.get('canonical_account_id')}")
    if seen.get("tax_numbers_contradict"):
        output.line("Both have a tax number of one country: they are probably two companies.")


ACCOUNTS = merging.Kind("account", "/v1/account-merges", _tell_preview)
