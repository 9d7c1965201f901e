"""Sources: which doors stand open, how they prove themselves, how their fields are read."""

import base64
import binascii
import hashlib
import json
import re
import secrets as random_secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import phonenumbers
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from baton_kit.ids import new_id
from baton_kit.pages import Page
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import mapping as mappings
from lead_intake import spam, store
from lead_intake.api.answers import PROBLEMS, Body, Moment, SourceId, app_of, plain
from lead_intake.delivery import Incoming, Source, Unparsable
from lead_intake.entry import Entry, entry_of, stored_key
from lead_intake.fetching import store as fetching_store
from lead_intake.fetching.api import Credential, FetchingOut, fetchings
from lead_intake.fetching.providers import CREDENTIALS
from lead_intake.fetching.providers import SETTINGS as FETCHING_SETTINGS
from lead_intake.identity.keys import Fault, rules_of
from lead_intake.presets import PRESETS, Preset
from lead_intake.sources import PROVIDERS, SETTINGS, TOKEN_ALWAYS
from lead_intake.touches import TOUCH_KINDS

router = APIRouter()


class NewSource(Body):
    """A source to be added."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", examples=["site-form"])
    provider: str = Field(examples=["generic"])
    preset: str = Field(
        default="", description="Fills in what `mapping` and `settings` leave open.", examples=["wpforms"]
    )
    name: str = Field(default="", max_length=200)
    default_region: str = Field(default="", max_length=2, examples=["DE"])
    secrets: list[str] = Field(default_factory=list, max_length=10)
    credentials: dict[str, Annotated[str, Field(min_length=8, max_length=4_000)]] = Field(
        default_factory=dict, description="What the provider is shown or shows us: access_token, verify_token."
    )
    mapping: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, str] = Field(default_factory=dict)


class SourceChange(Body):
    """What to change of a source; `rotate_token` gives the address a new token, shown once."""

    name: str | None = Field(default=None, max_length=200)
    default_region: str | None = Field(default=None, max_length=2)
    mapping: dict[str, Any] | None = None
    settings: dict[str, str] | None = None
    rotate_token: bool = False


class NewSecret(Body):
    """A secret that is valid beside the others."""

    secret: str = Field(max_length=500)


class Secret(BaseModel):
    """A secret without its value."""

    id: str
    created_at: Moment


class SourceOut(BaseModel):
    """A source. `webhook_url` carries the token, and `verify_token` is given, only in the answer that made them."""

    id: str
    provider: str
    name: str
    default_region: str
    mapping: dict[str, Any]
    settings: dict[str, str]
    secrets: list[Secret]
    credentials: list[Credential] = Field(default_factory=list)
    webhook_url: str
    verify_token: str | None = None
    fetching: FetchingOut | None = None
    form_url: str | None = Field(default=None, description="Of a source with `form_page`: the page for the phone.")
    created_at: Moment


class PresetOut(BaseModel):
    """A preset: what it fills in, where its names come from, and how to set the tool up."""

    id: str
    name: str
    provider: str
    verified: str
    steps: list[str]
    mapping: dict[str, Any]
    settings: dict[str, str]


class Trial(Body):
    """A delivery to be tried; `body` is text, or base64 with `base64` true."""

    content_type: str = Field(default="application/json", max_length=200)
    body: str = Field(max_length=400_000)
    base64: bool = False
    headers: dict[str, str] = Field(default_factory=dict)
    mapping: dict[str, Any] | None = None


class TrialEntry(BaseModel):
    """What would be made of an entry."""

    key: str
    outcome: str
    reason: str
    identities: list[str]
    features: dict[str, Any]
    channel: str
    page: str
    fields: list[str]


class TrialOut(BaseModel):
    """What would be made of a delivery; nothing was stored."""

    reason: str
    entries: list[TrialEntry]


@router.get(
    "/v1/sources", operation_id="list_sources", summary="List the sources", tags=["sources"], responses=PROBLEMS
)
async def list_sources(request: Request, caller: Caller = requires("sources:read")) -> Page[SourceOut]:
    """All sources; there are few, so that they come on one page."""
    async with app_of(request).db.begin() as tx:
        rows = await store.sources(tx)
        states = await fetchings(tx, rows)
        given = await fetching_store.credentials(tx)
    return Page(items=[_source_out(row, fetching=states.get(row.id), given=given) for row in rows])


@router.post(
    "/v1/sources",
    status_code=201,
    operation_id="add_source",
    summary="Add a source",
    tags=["sources"],
    responses=PROBLEMS,
)
async def add_source(request: Request, body: NewSource, caller: Caller = requires("sources:write")) -> SourceOut:
    """Add a source. Without secrets its address carries a token, which is shown in this answer only."""
    app = app_of(request)
    preset = _preset(body)
    mapping, settings = {**preset.mapping, **body.mapping}, {**preset.settings, **body.settings}
    check_source(body.provider, mapping, settings, body.default_region, body.secrets, adding=True)
    _check_credentials(body)
    token = "" if body.secrets and body.provider not in TOKEN_ALWAYS else random_secrets.token_urlsafe(24)
    now = app.clock.now()
    credentials = dict(body.credentials)
    verify_token = None
    if "verify_token" in CREDENTIALS.get(body.provider, ()) and "verify_token" not in credentials:
        verify_token = credentials["verify_token"] = random_secrets.token_urlsafe(24)
    secrets = tuple((new_id(), app.sources.sealed(body.id, s), now) for s in body.secrets)
    row = store.SourceRow(
        body.id,
        body.provider,
        body.name,
        body.default_region.upper(),
        mapping,
        settings,
        hashlib.sha256(token.encode()).digest() if token else None,
        now,
        secrets,
    )
    async with app.db.begin() as tx:
        if not await store.insert_source(tx, row):
            raise Problem(409, "There is a source with this id", detail="Choose another id, or change that source.")
        for id, sealed, at in secrets:
            await store.insert_secret(tx, id=id, source_id=body.id, sealed=sealed, created_at=at)
        for name, value in credentials.items():
            sealed = app.sources.sealed_credential(body.id, name, value=value)
            await fetching_store.put_credential(tx, source_id=body.id, name=name, sealed=sealed, at=now)
        await store.raise_source_version(tx)
        states = await fetchings(tx, [row])
        given = await fetching_store.credentials(tx, body.id)
    await app.sources.refresh()
    out = _source_out(row, token=token, fetching=states.get(row.id), given=given)
    out.verify_token = verify_token
    return out


@router.get(
    "/v1/sources/{id}", operation_id="get_source", summary="Show a source", tags=["sources"], responses=PROBLEMS
)
async def get_source(request: Request, id: SourceId, caller: Caller = requires("sources:read")) -> SourceOut:
    """One source."""
    async with app_of(request).db.begin() as tx:
        row = await source_row(tx, id)
        states = await fetchings(tx, [row])
        return _source_out(row, fetching=states.get(id), given=await fetching_store.credentials(tx, id))


@router.patch(
    "/v1/sources/{id}", operation_id="change_source", summary="Change a source", tags=["sources"], responses=PROBLEMS
)
async def change_source(
    request: Request, id: SourceId, body: SourceChange, caller: Caller = requires("sources:write")
) -> SourceOut:
    """Change a source; what is not given stays."""
    app = app_of(request)
    token = ""
    async with app.db.begin() as tx:
        await store.lock_source(tx, id)
        old = await source_row(tx, id)
        digest = old.token_digest
        if body.rotate_token:
            token = random_secrets.token_urlsafe(24)
            digest = hashlib.sha256(token.encode()).digest()
        row = store.SourceRow(
            id,
            old.provider,
            old.name if body.name is None else body.name,
            old.default_region if body.default_region is None else body.default_region.upper(),
            old.mapping if body.mapping is None else body.mapping,
            old.settings if body.settings is None else body.settings,
            digest,
            old.created_at,
            old.secrets,
        )
        check_source(row.provider, row.mapping, row.settings, row.default_region, [], adding=False)
        await store.update_source(tx, row)
        await store.raise_source_version(tx)
        states = await fetchings(tx, [row])
        given = await fetching_store.credentials(tx, id)
    await app.sources.refresh()
    return _source_out(row, token=token, fetching=states.get(id), given=given)


@router.post(
    "/v1/sources/{id}/secrets",
    status_code=201,
    operation_id="add_secret",
    summary="Add a secret beside the active ones",
    tags=["sources"],
    responses=PROBLEMS,
)
async def add_secret(
    request: Request, id: SourceId, body: NewSecret, caller: Caller = requires("sources:write")
) -> Secret:
    """Add a secret: from now on a delivery may be signed with it or with an older one."""
    app = app_of(request)
    secret_id, now = new_id(), app.clock.now()
    async with app.db.begin() as tx:
        await store.lock_source(tx, id)
        row = await source_row(tx, id)
        check_source(row.provider, {}, {}, "", [], adding=False)
        if problem := PROVIDERS[row.provider].secret_problem(body.secret):
            raise _invalid([("/secret", problem)])
        if len(row.secrets) >= 10:
            raise Problem(409, "There are ten secrets already", detail="Remove one that is not used any more.")
        await store.insert_secret(
            tx, id=secret_id, source_id=id, sealed=app.sources.sealed(id, body.secret), created_at=now
        )
        await store.raise_source_version(tx)
    await app.sources.refresh()
    return Secret(id=secret_id, created_at=now)


@router.delete(
    "/v1/sources/{id}/secrets/{secret_id}",
    status_code=204,
    operation_id="remove_secret",
    summary="Remove a secret",
    tags=["sources"],
    responses=PROBLEMS,
)
async def remove_secret(
    request: Request, id: SourceId, secret_id: UUID, caller: Caller = requires("sources:write")
) -> None:
    """Remove a secret. The last proof of a source stays: an open door would take anything."""
    app = app_of(request)
    async with app.db.begin() as tx:
        await store.lock_source(tx, id)
        row = await source_row(tx, id)
        if not await store.delete_secret(tx, id=str(secret_id), source_id=id):
            raise Problem(404, "The source has no such secret")
        if len(row.secrets) == 1 and (row.token_digest is None or PROVIDERS[row.provider].NEEDS_SECRET):
            raise Problem(409, "It is the last secret", detail="Add the new one first.")
        await store.raise_source_version(tx)
    await app.sources.refresh()


@router.post(
    "/v1/sources/{id}/test",
    operation_id="test_source",
    summary="Show what would be made of a delivery",
    tags=["sources"],
    responses=PROBLEMS,
)
async def try_source(
    request: Request, id: SourceId, body: Trial, caller: Caller = requires("sources:write")
) -> TrialOut:
    """Read a delivery as the door would, without a signature, and store nothing."""
    app = app_of(request)
    async with app.db.begin() as tx:
        row = await source_row(tx, id)
    mapping = row.mapping if body.mapping is None else body.mapping
    check_source(row.provider, mapping, row.settings, row.default_region, [], adding=False)
    source = Source(id, row.provider, row.name, row.default_region, mapping=mapping, settings=row.settings)
    headers = {k.lower(): v for k, v in body.headers.items()} | {"content-type": body.content_type}
    try:
        raw_body = base64.b64decode(body.body, validate=True) if body.base64 else body.body.encode()
    except (binascii.Error, ValueError):
        raise _invalid([("/body", "no base64, or text that is no Unicode")]) from None
    incoming = Incoming("POST", "", headers, raw_body, "", app.clock.now())
    try:
        inquiries = PROVIDERS[row.provider].parse(incoming, source)
    except Unparsable as error:
        return TrialOut(reason=error.reason, entries=[])
    return TrialOut(
        reason="",
        entries=[
            trial_entry(entry_of(i, source, key=stored_key(i.key), received_at=incoming.received_at), sorted(i.fields))
            for i in inquiries
        ],
    )


@router.get(
    "/v1/source-presets",
    operation_id="list_source_presets",
    summary="List the presets",
    tags=["sources"],
    responses=PROBLEMS,
)
async def list_source_presets(request: Request, caller: Caller = requires("sources:read")) -> Page[PresetOut]:
    """Ready-made mappings and settings for `preset` of a new source; there are few, so that they come on one page."""
    return Page(
        items=[
            PresetOut(
                id=preset.id,
                name=preset.name,
                provider=preset.provider,
                verified=preset.verified,
                steps=list(preset.steps),
                mapping=dict(preset.mapping),
                settings=dict(preset.settings),
            )
            for preset in PRESETS.values()
        ]
    )


def _preset(body: NewSource) -> Preset:
    preset = PRESETS.get(body.preset) if body.preset else Preset("", "", "", (), {}, provider=body.provider)
    if preset is None:
        raise _invalid([("/preset", f"possible are {', '.join(PRESETS)}")])
    if preset.provider != body.provider:
        raise _invalid([("/preset", f"it is a preset of the provider {preset.provider}")])
    return preset


async def source_row(tx: Any, id: str) -> store.SourceRow:
    """The source as it is stored; a problem 404 where there is none."""
    rows = await store.sources(tx, id=id)
    if not rows:
        raise Problem(404, "There is no such source")
    return rows[0]


def _source_out(
    row: store.SourceRow,
    *,
    token: str = "",
    fetching: FetchingOut | None = None,
    given: Sequence[tuple[str, str, bytes, datetime]] = (),
) -> SourceOut:
    url = f"/v1/webhooks/{row.id}"
    if row.token_digest is not None:
        url += f"/{token or '{token}'}"
    return SourceOut(
        id=row.id,
        provider=row.provider,
        name=row.name,
        default_region=row.default_region,
        mapping=dict(row.mapping),
        settings=dict(row.settings),
        secrets=[Secret(id=id, created_at=at) for id, _, at in row.secrets],
        credentials=[Credential(name=name, set_at=at) for source_id, name, _, at in given if source_id == row.id],
        fetching=fetching,
        webhook_url=url,
        form_url=url.replace("/webhooks/", "/forms/", 1) if row.settings.get("form_page") else None,
        created_at=row.created_at,
    )


def check_source(
    provider: str,
    mapping: Mapping[str, Any],
    settings: Mapping[str, str],
    region: str,
    secrets: list[str],
    *,
    adding: bool,
) -> None:
    """Raise a problem 422 that points at every fault of a source's configuration."""
    faults: list[tuple[str, str]] = []
    if provider not in PROVIDERS:
        raise _invalid([("/provider", f"possible are {', '.join(PROVIDERS)}")])
    if "\\u0000" in json.dumps([mapping, settings, secrets]):
        raise _invalid([("", "NUL characters cannot be stored")])
    if region and region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        faults.append(("/default_region", "a country code of two letters, such as DE"))
    faults += mappings.problems(mapping)
    for n, secret in enumerate(secrets):
        if problem := PROVIDERS[provider].secret_problem(secret):
            faults.append((f"/secrets/{n}", problem))
    if adding and PROVIDERS[provider].NEEDS_SECRET and not secrets:
        faults.append(("/secrets", f"{provider} always signs: give at least one"))
    own = {**SETTINGS.get(provider, {}), **FETCHING_SETTINGS.get(provider, {})}
    possible = {
        "signature_header",
        "signature_encoding",
        "signature_prefix",
        "secret_header",
        "touch_kind",
        "identity",
        "crm",
        *own,
    }
    possible |= spam.SETTINGS
    if provider == "generic":
        possible |= {"form_page", "form_title", "form_campaign", "form_privacy_url"}
    faults += [
        (f"/settings/{name}", f"possible are {', '.join(sorted(possible))}") for name in settings.keys() - possible
    ]
    for name in ("signature_header", "secret_header"):
        if name in settings and not re.fullmatch(r"[A-Za-z0-9-]{1,60}", settings[name]):
            faults.append((f"/settings/{name}", "the name of a header"))
    if settings.get("signature_encoding", "hex") not in ("hex", "base64"):
        faults.append(("/settings/signature_encoding", "hex or base64"))
    faults += [
        (f"/settings/{name}", "not of the form that this setting has")
        for name, form in own.items()
        if name in settings and not form.fullmatch(settings[name])
    ]
    if settings.get("form_page", "on") != "on":
        faults.append(("/settings/form_page", "on, or leave it out"))
    if "form_page" in settings and secrets:
        faults.append(("/secrets", "a form in the browser keeps no secret: give none, the address carries a token"))
    if not re.fullmatch(r"(https://[^\s\"'<>]{1,500})?", settings.get("form_privacy_url", "")):
        faults.append(("/settings/form_privacy_url", "an address that begins with https://"))
    if len(settings.get("form_title", "")) > 200 or len(settings.get("form_campaign", "")) > 100:
        faults.append(("/settings", "form_title has at most 200 characters, form_campaign 100"))
    if settings.get("touch_kind", "form") not in TOUCH_KINDS:
        faults.append(("/settings/touch_kind", f"possible are {', '.join(sorted(TOUCH_KINDS))}"))
    if not re.fullmatch(r"([a-z][a-z0-9_-]{0,31})?", settings.get("crm", "")):
        faults.append(("/settings/crm", "whose company ids these are: a short name such as hubspot or amocrm"))
    if "identity" in settings:
        try:
            rules_of(settings["identity"])
        except Fault as fault:
            faults.append(("/settings/identity", str(fault)))
    faults += [
        (f"/settings/{name}", "accept, or leave it out")
        for name in ("spam", "disposable")
        if settings.get(name, "accept") != "accept"
    ]
    faults += [
        (f"/settings/{name}", "a whole number up to 1000000, 0 for any number")
        for name in ("source_per_minute", "address_per_hour")
        if not re.fullmatch(r"0|[1-9][0-9]{0,5}|1000000", settings.get(name, "0"))
    ]
    if faults:
        raise _invalid(faults)


def _check_credentials(body: NewSource) -> None:
    possible = CREDENTIALS.get(body.provider, frozenset())
    faults = [
        (f"/credentials/{name}", f"possible are {', '.join(sorted(possible)) or 'none'}; plain characters only")
        for name, value in body.credentials.items()
        if name not in possible or not value.isascii() or not value.isprintable()
    ]
    if faults:
        raise _invalid(faults)


def _invalid(faults: list[tuple[str, str]]) -> Problem:
    return Problem(
        422,
        "The source is not valid",
        detail="Correct the fields named in `errors` and send the request again.",
        errors=[{"pointer": pointer, "detail": detail} for pointer, detail in faults],
    )


def trial_entry(entry: Entry, fields: list[str]) -> TrialEntry:
    """What would be made of an entry, in the shape of the API."""
    p = entry.person
    return TrialEntry(
        key=entry.key,
        outcome=entry.outcome.value if entry.outcome else "created_or_matched",
        reason=entry.reason,
        identities=list(p.identities) if p else [],
        features=plain(p.features) if p else {},
        channel=p.origin.channel if p else "",
        page=p.origin.page if p else "",
        fields=fields,
    )
