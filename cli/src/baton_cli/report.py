"""`baton report`: the figures both departments look at."""

from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, settings_of
from baton_cli.output import Json, items_of, when

app = typer.Typer(name="report", no_args_is_help=True, help="The figures both departments look at.")
MODELS = ("first", "last", "last_non_direct", "linear", "position", "time_decay")
From = Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day, UTC: 2026-09-01.")]
To = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, UTC, included.")]


@app.command()
def attribution(
    ctx: typer.Context,
    *,
    model: Annotated[list[str] | None, typer.Option(help=f"{', '.join(MODELS)}; repeat for several.")] = None,
    by: Annotated[str, typer.Option(help="channel or campaign.")] = "channel",
    since: From = None,
    until: To = None,
    currency: Annotated[str | None, typer.Option(help="Only this one: EUR.")] = None,
    as_json: Json = False,
) -> None:
    """Show which touches brought the money of won deals, under one or more models side by side.

    Example: `baton report attribution --model first --model linear --by campaign`
    """
    models = model or ["linear"]
    wrong = [name for name in models if name not in MODELS]
    if wrong or by not in ("channel", "campaign"):
        hint = "--model" if wrong else "--by"
        raise typer.BadParameter(f"{(wrong or [by])[0]} is not known", param_hint=hint)
    asked = {"model": models, "by": by, "from": since, "to": until, "currency": currency}
    params = {name: value for name, value in asked.items() if value is not None}
    answer = call(settings_of(ctx), "attribution", "GET /v1/reports/attribution", params=params)
    if as_json:
        output.json_value(answer)
    else:
        tell_attribution(answer)


def tell_attribution(answer: dict[str, Any]) -> None:
    """Print one table a currency: keys down, models across; every column has the same total."""
    models = [str(name) for name in answer.get("models") or []]
    rows = items_of(answer.get("rows"))
    for total in items_of(answer.get("totals")):
        currency = str(total.get("currency"))
        cells: dict[str, dict[str, Any]] = {}
        for row in rows:
            if row.get("currency") == currency:
                cells.setdefault(str(row.get("key")), {})[str(row.get("model"))] = row
        order = sorted(cells, key=lambda key: -sum(int(c.get("credit_minor", 0)) for c in cells[key].values()))
        table = [[key, *(_cell(cells[key].get(name), currency) for name in models)] for key in order]
        table.append(["all", *(output.money(total.get("total_minor", 0), currency) for _ in models)])
        output.table(
            [str(answer.get("by")), *(f"{name}>" for name in models)],
            table,
            empty="",
            title=f"{total.get('deals')} won deals in {currency}",
        )
    if not items_of(answer.get("totals")):
        output.line("no won deals in this period", style="dim")
    parameters = answer.get("parameters") or {}
    output.note(f"as of {when(answer.get('as_of'))}; touches of {parameters.get('lookback_days') or 'all'} days count")


def _cell(row: dict[str, Any] | None, currency: str) -> str:
    if row is None:
        return ""
    return f"{output.money(row.get('credit_minor', 0), currency)} ({float(row.get('share', 0)):.0%})"


@app.command()
def funnel(ctx: typer.Context, *, since: From = None, until: To = None, as_json: Json = False) -> None:
    """Show how many leads reached each stage, and which department owns it.

    Example: `baton report funnel --from 2026-09-01`
    """
    params = {name: value for name, value in {"from": since, "to": until}.items() if value is not None}
    answer = call(settings_of(ctx), "attribution", "GET /v1/reports/funnel", params=params)
    if as_json:
        output.json_value(answer)
    else:
        tell_funnel(answer)


def tell_funnel(answer: dict[str, Any]) -> None:
    """Print the stages with their owners, and each one's part of the stage before."""
    rows: list[list[object]] = []
    before: int | None = None
    for stage in items_of(answer.get("stages")):
        count = int(stage.get("leads", 0))
        rate = "" if not before else f"{count / before:.0%}"
        rows.append([stage.get("stage"), stage.get("owner"), count, rate])
        before = count
    output.table(["stage", "owned by", "leads>", "of the stage before>"], rows, empty="no leads yet")
    output.note(f"as of {when(answer.get('as_of'))}")


@app.command()
def rejections(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show why sales sent leads back, by family and reason.

    Example: `baton report rejections`
    """
    answer = call(settings_of(ctx), "sales-feedback", "GET /v1/reports/rejections")
    if as_json:
        output.json_value(answer)
    else:
        tell_rejections(answer)


def tell_rejections(answer: dict[str, Any]) -> None:
    """Print the reasons, most frequent first."""
    found = sorted(items_of(answer.get("by_reason")), key=lambda row: -int(row.get("count", 0)))
    rows: list[list[object]] = [[row.get("family"), row.get("reason"), row.get("count")] for row in found]
    if rows:
        rows.append(["all", "", answer.get("total")])
    output.table(["family", "reason", "times>"], rows, empty="nothing was rejected")
    output.note(f"as of {when(answer.get('as_of'))}")
