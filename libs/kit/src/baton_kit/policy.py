"""Who may do what: API keys with scopes, and a policy on every route."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from baton_kit.db import Tx, raw
from baton_kit.ids import new_id
from baton_kit.problems import Problem

ALL = "*"
_PREFIX = "bk_"
_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key: `Authorization: Bearer bk_…`")


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of an API key; `person_id` and `department` are set where the key is a person's own."""

    key_id: str
    name: str
    scopes: frozenset[str]
    person_id: str | None = None
    department: str | None = None

    def may(self, scope: str) -> bool:
        """Say whether the key carries the scope."""
        return scope in self.scopes or ALL in self.scopes


def requires(scope: str) -> Any:
    """Return the dependency of a route: its caller, who must hold `scope`. Answers 401 or 403 otherwise."""

    async def authorised(
        request: Request, credentials: HTTPAuthorizationCredentials | None = Depends(_bearer)
    ) -> Caller:
        caller = await _caller(request, credentials.credentials if credentials else None)
        if not caller.may(scope):
            raise Problem(
                403,
                "The key does not allow this",
                detail=f"The scope {scope} is needed. Ask an operator for a key with it.",
            )
        return caller

    authorised.policy = scope  # type: ignore[attr-defined]  # read by unprotected_routes
    return Depends(authorised)


async def _caller(request: Request, key: str | None) -> Caller:
    if key:
        async with request.app.state.baton.db.begin() as tx:
            row = await (await raw(tx)).fetchrow(
                "SELECT id, name, scopes, person_id, department FROM api_key WHERE digest = $1 AND revoked_at IS NULL",
                digest(key),
            )
        if row is not None:
            return Caller(row["id"], row["name"], frozenset(row["scopes"]), row["person_id"], row["department"])
    raise Problem(
        401,
        "An API key is needed",
        detail="Send a valid key as `Authorization: Bearer …`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


async def create_api_key(
    tx: Tx,
    *,
    name: str,
    scopes: list[str],
    person_id: str | None = None,
    department: str | None = None,
    key: str | None = None,
) -> str:
    """Store the digest of a key and return the key: it is shown once and cannot be found again.

    Given a `key`, storing it again changes nothing.
    """
    key = key or _PREFIX + secrets.token_urlsafe(32)
    await (await raw(tx)).execute(
        "INSERT INTO api_key (id, digest, name, scopes, person_id, department) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (digest) DO NOTHING",
        new_id(), digest(key), name, scopes, person_id, department,
    )  # fmt: skip
    return key


def digest(key: str) -> bytes:
    """Return what is stored of a key. Keys are 256 random bits: a plain SHA-256 cannot be searched."""
    return hashlib.sha256(key.encode()).digest()


def unprotected_routes(api: FastAPI, *, public: frozenset[str] = frozenset({"/openapi.json"})) -> list[str]:
    """Return the routes that nobody guards: a test holds this list empty."""
    found = []
    for route in _flat(api.routes):
        path = getattr(route, "path", "")
        if path in public:
            continue
        # A plain route has no dependencies that could guard it.
        dependant = getattr(route, "dependant", None)
        if dependant is None or not any(hasattr(one.call, "policy") for one in dependant.dependencies):
            found.append(f"{','.join(sorted(getattr(route, 'methods', None) or []))} {path}")
    return found


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        # FastAPI keeps an included router as one route and lists what it answers on demand.
        inside = getattr(route, "effective_route_contexts", None)
        if inside is None:
            yield route
        else:
            yield from _flat(inside())
