"""`baton channels`: which channel a touch belongs to, and the table that decides."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from baton_cli import output
from baton_cli.client import call, settings_of
from baton_cli.output import DryRun, Json, Yes, when

ADDRESS = "/v1/channel-rules"
File = Annotated[Path, typer.Argument(help="YAML or JSON with `lists`, `clicks` and `rules`.", exists=True)]

app = typer.Typer(name="channels", no_args_is_help=True, help="Which channel a touch belongs to.")


@app.command()
def show(
    ctx: typer.Context,
    *,
    version: Annotated[int | None, typer.Option(min=1, help="An earlier version.")] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="The whole table, to be edited and set.")] = False,
    as_json: Json = False,
) -> None:
    """Show the table: the first rule that fits decides.

    Examples: `baton channels show` · `baton channels show --yaml > channels.yaml`
    """
    found = call(settings_of(ctx), "lead-intake", f"GET {ADDRESS}", params={"version": version} if version else {})
    rules = found.get("rules") or {}
    if as_json:
        output.json_value(found)
    elif as_yaml:
        typer.echo(yaml.safe_dump(rules, sort_keys=False, allow_unicode=True, width=110), nl=False)
    else:
        output.line(f"version {found.get('version')}, since {when(found.get('changed_at'))}", style="bold")
        rows = [[n, row.get("channel"), _conditions(row)] for n, row in enumerate(rules.get("rules") or [])]
        output.table(["rule>", "channel", "when"], rows, empty="no rules")
        output.note(_stands(found.get("restatement") or {}))


@app.command("set")
def set_rules(
    ctx: typer.Context,
    file: File,
    *,
    touches: Annotated[int, typer.Option(min=1, max=10_000, help="The newest touches to preview on.")] = 1_000,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put a table into force, after showing what it would change. Earlier touches and reports follow by themselves.

    Examples: `baton channels set channels.yaml --dry-run` · `baton channels set channels.yaml --yes`
    """
    settings = settings_of(ctx)
    rules = _document(file)
    present = call(settings, "lead-intake", f"GET {ADDRESS}")
    body = {"rules": rules, "touches": touches}
    preview = call(settings, "lead-intake", f"POST {ADDRESS}/preview", body=body)
    if dry_run:
        if as_json:
            output.json_value(preview)
        else:
            _tell(preview)
            output.line("nothing was changed")
        return
    if not as_json:
        _tell(preview)
    output.confirm(f"Change the channel rules of version {present.get('version')}?", yes=yes)
    headers = {"If-Match": f'"{present.get("version")}"'}
    answer = call(settings, "lead-intake", f"PUT {ADDRESS}", body={"rules": rules}, headers=headers)
    if as_json:
        output.json_value(answer)
    else:
        output.line(f"version {answer.get('version')} is in force; {_stands(answer.get('restatement') or {})}")


@app.command("try")
def try_rules(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(help="Address of a landing page, with its query.")] = "",
    *,
    source: Annotated[str, typer.Option(help="utm_source")] = "",
    medium: Annotated[str, typer.Option(help="utm_medium")] = "",
    campaign: Annotated[str, typer.Option(help="utm_campaign")] = "",
    referrer: Annotated[str, typer.Option(help="Address of the referring page.")] = "",
    file: Annotated[Path | None, typer.Option(help="A table that is not in force.", exists=True)] = None,
    as_json: Json = False,
) -> None:
    """Show which channel a link or referrer belongs to, and the rule that decides.

    Example: `baton channels try 'https://firm.example/?utm_source=news&utm_medium=email'`
    """
    body: dict[str, Any] = {
        "page_url": address, "utm_source": source, "utm_medium": medium, "utm_campaign": campaign, "referrer": referrer,
    }  # fmt: skip
    if file is not None:
        body["rules"] = _document(file)
    answer = call(settings_of(ctx), "lead-intake", f"POST {ADDRESS}/try", body=body)
    if as_json:
        output.json_value(answer)
        return
    decided = answer.get("decided_by")
    why = f"rule {answer.get('rule')}: {_conditions(decided)}" if decided else "no rule: what every table says"
    output.line(f"{answer.get('channel')} ({why})")


def _document(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise output.Failed(
            f"{file} is neither YAML nor JSON", "`baton channels show --yaml` prints a table."
        ) from None


def _conditions(row: dict[str, Any]) -> str:
    names = {"source": "source", "medium": "medium", "campaign": "campaign", "source_or_medium": "source or medium"}
    return " and ".join(f"{word} is {', '.join(row[name])}" for name, word in names.items() if row.get(name))


def _tell(preview: dict[str, Any]) -> None:
    rows = [[m.get("before"), m.get("after"), m.get("touches")] for m in preview.get("moves") or []]
    output.table(["from", "to", "touches>"], rows, empty="no touch would change")
    output.line(f"{preview.get('changed')} of the newest {preview.get('touches')} touches would change")


def _stands(restatement: dict[str, Any]) -> str:
    if restatement.get("done") or restatement.get("touches_left") is None:
        return f"earlier touches follow it: {restatement.get('touches_regrouped')} changed"
    return f"{restatement.get('touches_left')} earlier touches are still to be looked at"
