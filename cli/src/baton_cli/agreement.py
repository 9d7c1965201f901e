"""`baton agreement`: propose, look at and sign what marketing and sales agreed on."""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from baton_cli import evidence, output, proof
from baton_cli.client import call, fetch_bytes, pages, part, settings_of
from baton_cli.output import DryRun, Failed, Json, Yes, clean, items_of, when
from baton_cli.settings import Settings, person_key

app = typer.Typer(name="agreement", no_args_is_help=True, help="The agreement of marketing and sales.")
app.command()(evidence.suggest)
app.command()(evidence.backtest)
app.command()(proof.verify)
# The order in which a reader asks; whatever else a document holds comes after.
_ORDER = ("parties", "gates", "disqualifiers", "fit", "engagement", "rejection_reasons", "glossary")
_FIRST = ("points", "id", "code", "term")
_LAST = ("in words", "when", "definition")
_NUMBERS = ("points", "cap", "half life hours", "window hours")
_MEDIA = {".yaml": "application/yaml", ".yml": "application/yaml", ".json": "application/json"}


@app.command()
def propose(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The document, YAML or JSON.", exists=True, dir_okay=False)],
    *,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Propose a version. Both departments sign the digest that comes back.

    Example: `baton agreement propose agreement.yaml`
    """
    settings = settings_of(ctx)
    if file.suffix.lower() not in _MEDIA:
        raise typer.BadParameter(f"{file.name} is neither .yaml nor .json", param_hint="FILE")
    media, document = _MEDIA[file.suffix.lower()], file.read_bytes()
    if dry_run:
        answer: dict[str, Any] = {
            "would_propose": str(file),
            "bytes": len(document),
            "to": settings.urls["qualification"],
        }
        text = f"would propose {file} ({len(document)} bytes) to {settings.urls['qualification']}; nothing was sent"
    else:
        with output.progress("checking the document"):
            answer = call(settings, "qualification", "POST /v1/agreements", content=(document, media))
        digest = clean(answer.get("digest"))
        text = (
            f"{clean(answer.get('agreement_id'))} version {clean(answer.get('version'))} is "
            f"{clean(answer.get('state'))}\ndigest {digest}\n"
            f"Sign it with: baton agreement sign {digest} --as NAME"
        )
    if as_json:
        output.json_value(answer)
    else:
        output.lines(text)


@app.command()
def sign(
    ctx: typer.Context,
    digest: Annotated[str, typer.Argument(help="SHA-256 of the document; its first 8 or more characters do.")],
    *,
    as_person: Annotated[str | None, typer.Option("--as", help="Who signs, with the key in cli.json.")] = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Sign a version with a person's own key. The second department's signature activates it at once.

    The bytes are fetched and their digest is computed here before anything is signed.

    Example: `baton agreement sign 7c85ebe1ce1c --as anna`
    """
    settings = settings_of(ctx)
    signer = person_key(settings, as_person)
    whole = _whole_digest(settings, digest)
    document = fetch_bytes(settings, "qualification", f"/v1/agreements/{whole}/canonical")
    if hashlib.sha256(document).hexdigest() != whole:
        raise Failed(
            "the service's document does not have this digest", "Nothing was signed. Do not sign; find out why."
        )
    shown = call(settings, "qualification", f"GET /v1/agreements/{whole}")
    what = f"{clean(shown.get('agreement_id'))} version {clean(shown.get('version'))}, digest {whole}"
    if dry_run:
        answer: dict[str, Any] = {"would_sign": whole, "as": as_person, "state": shown.get("state")}
        text = f"would sign {what}; nothing was signed"
    else:
        output.confirm(f"Sign {what} as {as_person or 'the holder of BATON_PERSON_KEY'}?", yes=yes)
        request = f"POST /v1/agreements/{whole}/signatures"
        answer = call(settings, "qualification", request, body={"digest": whole}, key=signer)
        text = f"signed {what}"
        if answer.get("state") == "active":
            text += f"\nBoth departments signed: it is in force (activation {clean(answer.get('activation_seq'))})."
    if as_json:
        output.json_value(answer)
    else:
        output.lines(text)


@app.command()
def show(
    ctx: typer.Context,
    digest: Annotated[str, typer.Argument(help="Which version; by default the one in force.")] = "active",
    *,
    language: Annotated[str, typer.Option("--language", "--lang", help="Language of its sentences: en or ru.")] = "en",
    page: Annotated[
        str | None, typer.Option(help="As plain sentences: marketing or sales (what it owes), or all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a version with its signatures and rules. By default the one in force.

    Examples: `baton agreement show`, `baton agreement show --page sales --lang ru`
    """
    settings = settings_of(ctx)
    if page not in (None, "all", "marketing", "sales"):
        raise typer.BadParameter("choose all, marketing or sales", param_hint="--page")
    which = "active" if digest == "active" else _whole_digest(settings, digest)
    shown = call(settings, "qualification", f"GET /v1/agreements/{which}", missing_ok=which == "active")
    if shown is None:
        raise Failed("no agreement is in force", "Propose one with `baton agreement propose FILE`, then both sign it.")
    text = None
    if page is not None:
        path = f"/v1/agreements/{shown['digest']}/page?language={part(language)}&page={page}"
        text = fetch_bytes(settings, "qualification", path).decode()
    if as_json:
        output.json_value(shown if text is None else {"digest": shown["digest"], "page": page, "text": text})
        return
    if text is not None:
        output.lines(text.rstrip())
        return
    output.line(f"{shown.get('agreement_id')} version {shown.get('version')}: {shown.get('state')}", style="bold")
    output.line(f"digest {shown.get('digest')}")
    signatures = [s for s in shown.get("signatures") or [] if isinstance(s, dict)]
    output.table(
        ["signed by", "department", "at"],
        [[s.get("person_id"), s.get("department"), when(s.get("signed_at"))] for s in signatures],
        empty="not signed yet",
    )
    document = shown.get("document")
    if isinstance(document, dict):
        _tell_document(document, language=language)


@app.command("list")
def list_agreements(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List the versions, with their state.

    Example: `baton agreement list --json`
    """
    found = pages(settings_of(ctx), "qualification", "/v1/agreements", limit=limit)
    if as_json:
        output.json_value(found)
        return
    columns = ["agreement_id", "version", "state", "digest"]
    rows = [[item.get(column) for column in columns] for item in found]
    output.table(["agreement", "version>", "state", "digest"], rows, empty="no agreement yet")


@app.command("plan")
def planned(
    ctx: typer.Context,
    digest: Annotated[str, typer.Argument(help="Which version; by default the one in force.")] = "active",
    *,
    qualified: Annotated[int, typer.Option(min=0, help="Qualified leads whose outcome is known.")],
    won: Annotated[int, typer.Option(min=0, help="How many of them were won.")],
    as_json: Json = False,
) -> None:
    """Turn the plan of deals into the qualified leads that are needed each week, with a 95 % interval.

    Example: `baton agreement plan --qualified 120 --won 14`
    """
    settings = settings_of(ctx)
    if digest == "active":
        whole = str(call(settings, "qualification", "GET /v1/agreements/active")["digest"])
    else:
        whole = _whole_digest(settings, digest)
    measured = {"qualified": qualified, "won": won}
    rows = call(settings, "qualification", f"GET /v1/agreements/{whole}/plan", params=measured)
    if as_json:
        output.json_value(rows)
        return
    columns = ["month", "product", "segment", "rep", "deals", "expected", "low", "high"]
    shown = [["" if row[name] is None else row[name] for name in columns] for row in items_of(rows)]
    headings = ["month", "product", "segment", "rep", "deals>", "leads a week>", "from>", "to>"]
    output.table(headings, shown, empty="this agreement has no plan")


_VERDICTS = {"speaks_against": "speaks against it", "supports": "supports it", "no_evidence": "no evidence"}


@app.command("evidence")
def shown_evidence(
    ctx: typer.Context,
    digest: Annotated[str, typer.Argument(help="Which version; by default the one in force.")] = "active",
    *,
    as_json: Json = False,
) -> None:
    """Show for each rule how sales answered the leads that met it, beside those that did not.

    Each rep is compared with itself, so that one harsh rep does not speak for all.

    Example: `baton agreement evidence`
    """
    settings = settings_of(ctx)
    params = {} if digest == "active" else {"agreement": _whole_digest(settings, digest)}
    found = call(settings, "qualification", "GET /v1/evidence", params=params)
    if as_json:
        output.json_value(found)
        return
    whole = found["all"]
    output.line(f"{clean(found['agreement_id'])} version {found['version']}", style="bold")
    output.line(f"{whole['handed_over']} handed over, {whole['accepted']} accepted, {whole['rejected']} rejected")
    output.line("")
    rows = []
    for rule in found["rules"]:
        odds = rule["rejection_odds"]
        ratio = "" if odds is None else f"{odds['ratio']:.2f} ({odds['low']:.2f} to {odds['high']:.2f})"
        met, rest = rule["met"], rule["not_met"]
        reasons = ", ".join(f"{one['reason']} {one['leads']}" for one in rule["reasons"])
        rates = [_part(side["accept_rate"]) for side in (met, rest)] + [_part(side["win_rate"]) for side in (met, rest)]
        rows.append([rule["rule"], rule["points"], *rates, ratio, _VERDICTS.get(rule["verdict"], ""), reasons])
    columns = [
        "rule",
        "points>",
        "accepted with>",
        "without>",
        "won with>",
        "without>",
        "odds of rejection>",
        "verdict",
        "reasons",
    ]
    output.table(columns, rows, empty="this version has no rules")
    output.note(f"as of {when(found['as_of'])}; a verdict needs 30 answers on either side")


def _part(rate: dict[str, Any] | None) -> str:
    return "" if rate is None else f"{rate['value']:.0%}"


def _tell_document(document: dict[str, Any], *, language: str) -> None:
    """Print what holds for the whole first, then each list of rules as a table, its conditions last."""
    tables = {name: rules for name, rules in document.items() if isinstance(rules, list) and rules}
    output.line("")
    for name, value in document.items():
        if name not in tables and value:
            spoken = value.get(language, value) if isinstance(value, dict) else value
            output.line(f"{name.replace('_', ' ')}: {output.described(spoken)}")
    for name in [n for n in _ORDER if n in tables] + [n for n in tables if n not in _ORDER]:
        rules = [_spoken(rule, language) for rule in output.items_of(tables[name])]
        present = list(dict.fromkeys(key for rule in rules for key in rule))
        columns = [c for c in _FIRST if c in present]
        columns += [c for c in present if c not in (*_FIRST, *_LAST)] + [c for c in _LAST if c in present]
        rows = [[output.described(rule.get(column)) for column in columns] for rule in rules]
        output.line("")
        headings = [f"{c}>" if c in _NUMBERS else c for c in (column.replace("_", " ") for column in columns)]
        output.table(headings, rows, empty="", title=name.replace("_", " "))


def _spoken(rule: dict[str, Any], language: str) -> dict[str, Any]:
    """The rule with one sentence: in the language asked for, else in whichever it has."""
    tongues = [name for name in rule if re.fullmatch(r"[a-z]{2}", name) and name != "id"]
    chosen = language if language in tongues else next(iter(tongues), None)
    plain = {name: value for name, value in rule.items() if name not in tongues}
    return plain if chosen is None else {**plain, "in words": rule[chosen]}


def _whole_digest(settings: Settings, digest: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", digest):
        return digest
    if not re.fullmatch(r"[0-9a-f]{8,63}", digest):
        raise typer.BadParameter(
            "a digest is 64 characters 0-9a-f, or at least the first 8 of them", param_hint="DIGEST"
        )
    listed = pages(settings, "qualification", "/v1/agreements", limit=1000)
    found = {str(item["digest"]) for item in listed if str(item.get("digest", "")).startswith(digest)}
    if len(found) != 1:
        raise Failed(
            f"{len(found) or 'no'} agreements have a digest that begins with {part(digest)}",
            "`baton agreement list` shows them.",
        )
    return found.pop()
