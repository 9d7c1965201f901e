"""`baton source`: where leads come from."""

import base64
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import DryRun, Json, clean, items_of

TRIAL = "name=Ada Example&email=ada@analytical.example.com&utm_source=newsletter&utm_medium=email"

app = typer.Typer(name="source", no_args_is_help=True, help="Where leads come from: forms and ad platforms.")


@app.command()
def add(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Short name; it stands in the webhook's address.")],
    *,
    provider: Annotated[str, typer.Option(help="generic, standard_webhooks, google_ads, typeform, tally or hubspot.")],
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    region: Annotated[str | None, typer.Option(help="Country of phone numbers without a prefix, such as DE.")] = None,
    secret_file: Annotated[
        list[Path] | None,
        typer.Option(help="File that holds a signing secret; may be repeated.", exists=True, dir_okay=False),
    ] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--file", help="YAML or JSON with `mapping`, `settings` and more.", exists=True, dir_okay=False),
    ] = None,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Add a source and print the address to give to the provider, with a line to try it by hand.

    Without a signing secret the address holds a token: whoever has it can send leads, and it is shown this once.
    Secrets come from files, never from arguments, which others on the machine can see.

    Example: `baton source add site-form --provider generic --region DE --file mapping.yaml`
    """
    settings = settings_of(ctx)
    body: dict[str, Any] = {**(_document(settings_file) if settings_file else {}), "id": id, "provider": provider}
    body.setdefault("name", name or id)
    if region is not None:
        body["default_region"] = region
    if secret_file:
        body["secrets"] = [file.read_text("utf-8").strip() for file in secret_file]
    if dry_run:
        answer: dict[str, Any] = {"would_add": body | ({"secrets": ["***"]} if "secrets" in body else {})}
    else:
        answer = call(settings, "lead-intake", "POST /v1/sources", body=body)
    if as_json:
        output.json_value(answer)
    elif dry_run:
        output.line(f"would add the source {id} of {provider}; nothing was changed")
    else:
        _tell_door(answer, public=settings.public_urls.get("lead-intake"))


@app.command("list")
def list_sources(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
    as_json: Json = False,
) -> None:
    """List the sources.

    Example: `baton source list --json`
    """
    found = pages(settings_of(ctx), "lead-intake", "/v1/sources", limit=limit)
    if as_json:
        output.json_value(found)
        return
    columns = ["id", "provider", "name", "default_region", "webhook_url"]
    rows = [[item.get(column) for column in columns] for item in found]
    output.table(["source", "provider", "name", "region", "webhook"], rows, empty="no source yet: `baton source add`")


@app.command()
def test(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="The source.")],
    body: Annotated[
        Path, typer.Argument(help="File with a body as the provider sends it.", exists=True, dir_okay=False)
    ],
    *,
    content_type: Annotated[str, typer.Option(help="The Content-Type of the delivery.")] = "application/json",
    mapping: Annotated[
        Path | None, typer.Option(help="Try this mapping (YAML or JSON) instead.", exists=True, dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what would be made of a delivery. Nothing is stored.

    Example: `baton source test site-form delivery.json --mapping mapping.yaml`
    """
    content = base64.b64encode(body.read_bytes()).decode()
    order: dict[str, Any] = {"content_type": content_type, "body": content, "base64": True}
    if mapping is not None:
        order["mapping"] = _document(mapping)
    answer = call(settings_of(ctx), "lead-intake", f"POST /v1/sources/{part(id)}/test", body=order)
    if as_json:
        output.json_value(answer)
        return
    if answer.get("reason"):
        output.line(f"the delivery would be quarantined: {answer['reason']}")
        return
    for number, entry in enumerate(items_of(answer.get("entries")), start=1):
        outcome = f"{entry.get('outcome') or 'lead'} {entry.get('reason') or ''}".rstrip()
        output.line(f"entry {number}: {outcome}", style="bold")
        columns = ("identities", "features", "channel", "page", "fields")
        rows = [[name, output.described(entry[name])] for name in columns if entry.get(name)]
        output.table(["", "read as"], rows, empty="nothing was found in it: name its fields in the mapping")


@app.command("try")
def try_receipt(
    ctx: typer.Context,
    *,
    receipt: Annotated[str, typer.Option(help="A stored receipt of the source.")],
    mapping: Annotated[
        Path | None, typer.Option(help="Mapping to be tried (YAML or JSON).", exists=True, dir_okay=False)
    ] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", help="Settings to be tried (YAML or JSON).", exists=True, dir_okay=False),
    ] = None,
    region: Annotated[str | None, typer.Option(help="Country of phone numbers to be tried.")] = None,
    release: Annotated[bool, typer.Option("--release", help="As if what looked like spam were none.")] = False,
    as_json: Json = False,
) -> None:
    """Read a stored receipt under a mapping that is not saved yet, and show what would differ. Nothing is stored.

    Example: `baton source try --receipt 01a20f8f-… --mapping mapping.yaml`
    """
    order: dict[str, Any] = {"release": release}
    if mapping is not None:
        order["mapping"] = _document(mapping)
    if settings_file is not None:
        order["settings"] = _document(settings_file)
    if region is not None:
        order["default_region"] = region
    answer = call(settings_of(ctx), "lead-intake", f"POST /v1/receipts/{part(receipt)}/try", body=order)
    if as_json:
        output.json_value(answer)
        return
    if answer.get("reason"):
        output.line(f"nobody could read it: {answer['reason']}")
    for entry in items_of(answer.get("entries")):
        stands, would = entry.get("stands") or {}, entry.get("candidate") or {}
        now = f"{stands.get('outcome', 'new')} {stands.get('reason') or ''}".rstrip()
        then = f"{would.get('outcome', 'nothing')} {would.get('reason') or ''}".rstrip()
        kept = "" if entry.get("open") else " (settled: a replay leaves it as it is)"
        output.line(f"entry {entry.get('ordinal')}: stands as {now}, would be {then}{kept}", style="bold")
        rows = [
            [d.get("field"), output.described(d.get("saved")), output.described(d.get("candidate"))]
            for d in items_of(entry.get("differences"))
        ]
        output.table(["field", "as saved", "as tried"], rows, empty="no difference to the saved mapping")


def _tell_door(source: dict[str, Any], *, public: str | None) -> None:
    address = f"{public or ''}{source.get('webhook_url')}"
    output.line(f"{source.get('id')} is ready. Its webhook, to be given to the provider:")
    output.line(f"  {address}")
    if public is None:
        output.note("Put the public address of lead-intake in front of it.")
    if source.get("secrets"):
        output.line("Deliveries must be signed with the secret.")
        return
    output.note("The address holds a token and is shown this once: whoever has it can send leads.")
    if source.get("provider") == "generic" and public is not None:
        output.line("Try it:")
        output.line(f"  curl -d '{TRIAL}' {shlex.quote(clean(address))}")


def _document(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place else ""
        raise output.Failed(f"{file} is neither YAML nor JSON{where}") from None
    if not isinstance(found, dict):
        raise output.Failed(f"{file} does not hold an object")
    return found
