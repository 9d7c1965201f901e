"""The channel rules: read, change, preview, try."""

import json
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field

from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of
from lead_intake.channels import ChannelRules, problems
from lead_intake.delivery import Inquiry
from lead_intake.grouping import store
from lead_intake.grouping.change import Overtaken, change, channel_of, rules_of
from lead_intake.touches import origin_of

router = APIRouter()

EXAMPLE = {
    "lists": {"own_media": ["magazine.example.com"]},
    "clicks": {"gclid": {"source": "google", "medium": "cpc"}},
    "rules": [{"channel": "own_media", "source": ["@own_media"]}, {"channel": "email", "medium": ["email", "news*"]}],
}
Rules = Annotated[
    dict[str, Any],
    Field(description="`lists`, `clicks` and `rules`: the first rule that fits decides.", examples=[EXAMPLE]),
]
PRECONDITIONS: dict[int | str, dict[str, Any]] = {
    412: {"description": "The rules were changed since", "content": {"application/problem+json": {}}},
    428: {"description": "Say which version was read", "content": {"application/problem+json": {}}},
}


class ChannelRulesChange(Body):
    """The whole table, in the place of the one in force."""

    rules: Rules


class ChannelRulesPreview(ChannelRulesChange):
    """A table that is not in force, and on how many touches to try it."""

    touches: int = Field(default=1_000, ge=1, le=10_000)


class Restatement(BaseModel):
    """How far earlier touches are grouped by this version."""

    done: bool
    finished_at: Moment | None
    touches_read: int
    touches_regrouped: int
    touches_left: int | None = Field(description="Of the version in force, counted to 100,000; null of earlier ones")


class ChannelRulesOut(BaseModel):
    """A version of the table."""

    version: int
    digest: str
    changed_at: Moment
    changed_by: str = Field(description="The id of the API key; empty for what Baton came with")
    rules: dict[str, Any]
    restatement: Restatement


class Move(BaseModel):
    """Touches that would go from one channel to another."""

    before: str
    after: str
    touches: int


class Preview(BaseModel):
    """What a table would do to the newest touches."""

    touches: int
    changed: int
    moves: list[Move]


class ChannelTrial(Body):
    """An origin to be tried, and optionally a table that is not in force."""

    utm_source: str = Field(default="", max_length=200)
    utm_medium: str = Field(default="", max_length=200)
    utm_campaign: str = Field(default="", max_length=200)
    page_url: str = Field(default="", max_length=2_000, description="Its query is read as well.")
    referrer: str = Field(default="", max_length=2_000)
    rules: Rules | None = None


class ChannelTold(BaseModel):
    """The channel, and the rule that decided: its place in the table, null where none fitted."""

    channel: str
    rule: int | None
    decided_by: dict[str, Any] | None
    version: int | None = Field(description="Null for a table that is not in force")


@router.get(
    "/v1/channel-rules",
    operation_id="get_channel_rules",
    summary="Show the channel rules",
    tags=["channels"],
    responses=PROBLEMS,
)
async def get_channel_rules(
    request: Request,
    response: Response,
    caller: Caller = requires("sources:read"),
    version: Annotated[int | None, Query(ge=1, description="An earlier version; without it the one in force.")] = None,
) -> ChannelRulesOut:
    """The table with its version, which is also its ETag."""
    async with app_of(request).db.begin() as tx:
        table = await store.current(tx)
        found = table if version is None else await store.version(tx, version)
        left = await store.left(tx, table.version) if found and found.version == table.version else None
    if found is None:
        raise Problem(404, "There is no such version")
    response.headers["ETag"] = f'"{found.version}"'
    return _out(found, left)


@router.get(
    "/v1/channel-rules/versions",
    operation_id="list_channel_rules",
    summary="List the versions of the channel rules",
    tags=["channels"],
    responses=PROBLEMS,
)
async def list_channel_rules(
    request: Request,
    response: Response,
    caller: Caller = requires("sources:read"),
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[ChannelRulesOut]:
    """Versions, newest first."""
    position = decode_cursor(cursor, kinds=[int])
    async with app_of(request).db.begin() as tx:
        found = await store.versions(tx, before=position[0] if position else None, limit=limit + 1)
    next_cursor = encode_cursor(found[limit - 1].version) if len(found) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=[_out(table, None) for table in found[:limit]], next_cursor=next_cursor)


@router.put(
    "/v1/channel-rules",
    operation_id="set_channel_rules",
    summary="Change the channel rules",
    tags=["channels"],
    responses={**PROBLEMS, **PRECONDITIONS},
)
async def set_channel_rules(
    request: Request,
    response: Response,
    body: ChannelRulesChange,
    caller: Caller = requires("sources:write"),
    if_match: Annotated[str | None, Header(max_length=40, description='The `ETag` that was read: `"1"`.')] = None,
) -> ChannelRulesOut:
    """A version of its own. New touches are grouped by it within a second; earlier ones are restated."""
    app = app_of(request)
    _checked(body.rules)
    read = _version(if_match)
    try:
        async with app.db.begin() as tx:
            table = await change(tx, app, body.rules, read=read, by=caller.key_id)
            left = await store.left(tx, table.version)
    except Overtaken as overtaken:
        raise Problem(
            412, "The rules were changed since", detail=f"Read version {overtaken.version} and change that."
        ) from None
    response.headers["ETag"] = f'"{table.version}"'
    return _out(table, left)


@router.post(
    "/v1/channel-rules/preview",
    operation_id="preview_channel_rules",
    summary="Show what a table would change",
    tags=["channels"],
    responses=PROBLEMS,
)
async def preview_channel_rules(
    request: Request, body: ChannelRulesPreview, caller: Caller = requires("sources:read")
) -> Preview:
    """How many of the newest touches would change, and from where to where. Nothing is changed."""
    rules = _checked(body.rules)
    async with app_of(request).db.begin() as tx:
        touches = await store.latest_touches(tx, body.touches)
    moves = Counter(
        (touch.channel, channel) for touch in touches if (channel := channel_of(touch, rules)) != touch.channel
    )
    return Preview(
        touches=len(touches),
        changed=moves.total(),
        moves=[Move(before=before, after=after, touches=n) for (before, after), n in moves.most_common()],
    )


@router.post(
    "/v1/channel-rules/try",
    operation_id="try_channel_rules",
    summary="Show which channel an origin belongs to",
    tags=["channels"],
    responses=PROBLEMS,
)
async def try_channel_rules(
    request: Request, body: ChannelTrial, caller: Caller = requires("sources:read")
) -> ChannelTold:
    """The channel of a link, a referrer or UTM values, and the rule that decides. Nothing is kept."""
    if body.rules is not None:
        rules = _checked(body.rules)
    else:
        async with app_of(request).db.begin() as tx:
            rules = rules_of(await store.current(tx))
    fields = {
        name: value
        for name in ("utm_source", "utm_medium", "utm_campaign", "page_url", "referrer")
        if (value := getattr(body, name))
    }
    origin = origin_of(Inquiry("", fields), rules=rules)
    grouped = rules.group(
        origin.utm_source,
        origin.utm_medium,
        campaign=origin.utm_campaign,
        clicks=origin.click_kinds,
        referrer=origin.referrer,
    )
    return ChannelTold(
        channel=grouped.channel,
        rule=grouped.rule,
        decided_by=None if grouped.rule is None else rules.document["rules"][grouped.rule],
        version=None if body.rules is not None else rules.version,
    )


def _checked(document: dict[str, Any]) -> ChannelRules:
    faults = problems(document)
    if faults:
        raise Problem(
            422,
            "The rules are not valid",
            detail="Nothing was changed.",
            errors=[{"pointer": f"/rules{pointer}", "detail": what} for pointer, what in faults[:50]],
        )
    return ChannelRules(document, version=0)


def _version(if_match: str | None) -> int:
    if if_match is None:
        raise Problem(428, "Say which version was read", detail='Send `If-Match` with the ETag of the rules: `"1"`.')
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not tag.isdecimal() or len(tag) > 18:
        raise Problem(412, "The rules were changed since", detail="Read them and change that version.")
    return int(tag)


def _out(table: store.Table, left: int | None) -> ChannelRulesOut:
    return ChannelRulesOut(
        version=table.version,
        digest=table.digest,
        changed_at=table.changed_at,
        changed_by=table.changed_by,
        rules=json.loads(table.document),
        restatement=Restatement(
            done=table.restated_at is not None and not left,
            finished_at=table.restated_at,
            touches_read=table.touches_read,
            touches_regrouped=table.touches_regrouped,
            touches_left=left,
        ),
    )
