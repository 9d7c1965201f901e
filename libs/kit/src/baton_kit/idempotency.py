"""Writes that a client may repeat: the first answer is kept for 72 hours and given again."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.encoders import jsonable_encoder

from baton_kit.db import Tx, raw
from baton_kit.failpoint import failpoint
from baton_kit.policy import Caller
from baton_kit.problems import Problem

KEPT_HOURS = 72

IdempotencyKey = Annotated[
    str | None,
    Header(description="Any text of 1 to 255 characters, new for each intended effect.", max_length=255),
]


async def idempotent(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    key: str | None,
    status: int,
    act: Callable[[], Awaitable[Any]],
) -> Response:
    """Run `act` once per key, in the caller's transaction, and answer its result as JSON with `status`.

    400 without a key, 409 while the first request is under way, 422 when the key comes with another request; otherwise
    the first answer, marked `Idempotency-Replayed: true`. A Problem that `act` raises rolls back and is not kept: the
    corrected request may use the same key.
    """
    if not key or "\x00" in key:
        raise Problem(400, "Idempotency-Key is missing", detail="Send a new `Idempotency-Key` header with each write.")
    connection = await raw(tx)
    body = await request.body()
    parts = [request.method.encode(), request.url.path.encode(), request.url.query.encode(), body]
    asked = hashlib.sha256(b"\x00".join(parts)).digest()
    # The lock ends with the transaction: whoever does not get it meets a first request still under way.
    mine = await connection.fetchval(
        "SELECT pg_try_advisory_xact_lock(hashtextextended($1 || chr(31) || $2, 11))", caller.key_id, key
    )
    if not mine:
        raise Problem(
            409,
            "The first request with this key is under way",
            detail="Wait and repeat it.",
            headers={"Retry-After": "1"},
        )
    row = await connection.fetchrow(
        "SELECT digest, status, body FROM idempotency_key WHERE caller = $1 AND key = $2", caller.key_id, key
    )
    if row is not None:
        if row["digest"] != asked:
            raise Problem(422, "The key was used for another request", detail="Use a new Idempotency-Key.")
        return Response(
            row["body"],
            status_code=row["status"],
            media_type="application/json",
            headers={"Idempotency-Replayed": "true"},
        )
    answer = json.dumps(jsonable_encoder(await act())).encode()
    failpoint("idempotency.after_act")
    await connection.execute(
        "INSERT INTO idempotency_key (caller, key, digest, status, body) VALUES ($1, $2, $3, $4, $5)",
        caller.key_id, key, asked, status, answer,
    )  # fmt: skip
    failpoint("idempotency.after_record")
    return Response(answer, status_code=status, media_type="application/json")


async def forget_old_keys(tx: Tx) -> None:
    """Delete the answers that are older than KEPT_HOURS."""
    await (await raw(tx)).execute(
        "DELETE FROM idempotency_key WHERE created_at < now() - make_interval(hours => $1)", KEPT_HOURS
    )
