"""`baton source`: where leads come from."""

import base64
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import DryRun, Json, clean, items_of, when

TRIAL = "name=Ada Example&email=ada@analytical.example.com&utm_source=newsletter&utm_medium=email"

app = typer.Typer(name="source", no_args_is_help=True, help="Where leads come from: forms and ad platforms.")
credentials = typer.Typer(name="credential", no_args_is_help=True, help="What a provider is shown, such as tokens.")
app.add_typer(credentials)


@app.command()
def add(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Short name; it stands in the webhook's address.")],
    *,
    provider: Annotated[str | None, typer.Option(help="Who sends; docs/providers.md lists them.")] = None,
    preset: Annotated[str | None, typer.Option(help="Ready-made settings, see `baton source presets`.")] = None,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    region: Annotated[str | None, typer.Option(help="Country of phone numbers without a prefix, such as DE.")] = None,
    secret_file: Annotated[
        list[Path] | None,
        typer.Option(help="File that holds a signing secret; may be repeated.", exists=True, dir_okay=False),
    ] = None,
    credential_file: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE, such as access_token=token.txt; may be repeated.", metavar="NAME=FILE"),
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
    Example: `baton source add calls --preset call_tracking --region DE`
    """
    if provider is None:
        if preset is None:
            raise typer.BadParameter("name who sends, or a preset of the generic source", param_hint="--provider")
        provider = "generic"
    settings = settings_of(ctx)
    body: dict[str, Any] = {**(_document(settings_file) if settings_file else {}), "id": id, "provider": provider}
    body.setdefault("name", name or id)
    if region is not None:
        body["default_region"] = region
    if preset is not None:
        body["preset"] = preset
    if secret_file:
        body["secrets"] = [file.read_text("utf-8").strip() for file in secret_file]
    if credential_file:
        body["credentials"] = dict(_credential(pair) for pair in credential_file)
    if dry_run:
        hidden: dict[str, Any] = {"secrets": ["***"]} if "secrets" in body else {}
        if "credentials" in body:
            hidden["credentials"] = dict.fromkeys(body["credentials"], "***")
        answer: dict[str, Any] = {"would_add": body | hidden}
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
def show(ctx: typer.Context, id: Annotated[str, typer.Argument(help="The source.")], *, as_json: Json = False) -> None:
    """Show a source: what it is set to, and how lookups at its provider stand.

    Example: `baton source show meta-leads`
    """
    found = call(settings_of(ctx), "lead-intake", f"GET /v1/sources/{part(id)}")
    if as_json:
        output.json_value(found)
        return
    output.line(f"{found.get('id')}: {found.get('name') or found.get('provider')}", style="bold")
    rows = [[name, found.get(name)] for name in ("provider", "default_region", "webhook_url")]
    rows += [[name, value] for name, value in sorted((found.get("settings") or {}).items())]
    rows.append(["secrets", len(found.get("secrets") or [])])
    rows += [[c.get("name"), f"set {when(c.get('set_at'))}"] for c in found.get("credentials") or []]
    output.table(["", "is"], rows, empty="nothing is set")
    if fetching := found.get("fetching"):
        output.line(lookups_of(fetching), style="green" if fetching.get("state") == "ready" else "bold red")


@credentials.command("set")
def set_credential(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="The source.")],
    name: Annotated[str, typer.Argument(help="access_token or verify_token.")],
    *,
    file: Annotated[Path, typer.Option(help="File that holds it.", exists=True, dir_okay=False)],
    as_json: Json = False,
) -> None:
    """Give a source a credential in place of an earlier one. What waits for an access token is tried at once.

    Example: `baton source credential set meta-leads access_token --file token.txt`
    """
    body = {"value": file.read_text("utf-8").strip()}
    address = f"PUT /v1/sources/{part(id)}/credentials/{part(name)}"
    answer = call(settings_of(ctx), "lead-intake", address, body=body)
    if as_json:
        output.json_value(answer)
    else:
        output.line(f"{name} of {id} is set")


def lookups_of(fetching: dict[str, Any]) -> str:
    """One line on how lookups stand: `token_invalid since …: token_expired. …`."""
    waiting = fetching.get("waiting") or 0
    if fetching.get("state") == "ready":
        last = f", last answered {when(fetching.get('last_ok_at'))}" if fetching.get("last_ok_at") else ""
        return f"lookups: ready, {waiting} wait{last}"
    return f"lookups: {fetching.get('detail')}"


@app.command()
def presets(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List the ready-made settings for tools that the generic source reads.

    Each says where its names come from: what is from memory should be tried with `baton source test`.

    Example: `baton source presets`
    """
    found = pages(settings_of(ctx), "lead-intake", "/v1/source-presets", limit=200)
    if as_json:
        output.json_value(found)
        return
    rows = [[item.get("id"), item.get("name"), item.get("verified")] for item in found]
    output.table(["preset", "for", "where its names come from"], rows, empty="no presets")
    for item in found:
        output.line(f"{item.get('id')}:", style="bold")
        for number, step in enumerate(item.get("steps") or (), start=1):
            output.line(f"  {number}. {step}")


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
    if source.get("form_url"):
        output.line("The form for the phone:")
        output.line(f"  {public or ''}{source['form_url']}")
    if public is None:
        output.note("Put the public address of lead-intake in front of it.")
    if token := source.get("verify_token"):
        output.line(f"Its verify token, shown this once: {clean(token)}")
    if (source.get("fetching") or {}).get("state") == "no_token":
        output.note(
            f"Leads are looked up: `baton source credential set {clean(source.get('id'))} access_token --file …`"
        )
    if source.get("secrets") and _without_token(source):
        output.line("Deliveries must be signed with the secret.")
        return
    output.note("The address holds a token and is shown this once: whoever has it can send leads.")
    if source.get("provider") == "generic" and public is not None:
        output.line("Try it:")
        output.line(f"  curl -d '{TRIAL}' {shlex.quote(clean(address))}")


def _without_token(source: dict[str, Any]) -> bool:
    return str(source.get("webhook_url")).endswith(f"/webhooks/{source.get('id')}")


def _credential(pair: str) -> tuple[str, str]:
    name, separator, file = pair.partition("=")
    path = Path(file)
    if not separator or not path.is_file():
        raise typer.BadParameter(
            f"{clean(pair)} is not NAME=FILE with a file that exists", param_hint="--credential-file"
        )
    return name, path.read_text("utf-8").strip()


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
