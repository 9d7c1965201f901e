"""The FastAPI side of a service: problems, policies, traces, and the operator's routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

from baton_kit import operate
from baton_kit.apply import KitApp, Subscription
from baton_kit.problems import add_problem_handlers
from baton_kit.web import Traced


def create_fastapi(
    app: KitApp,
    *,
    title: str,
    version: str,
    description: str,
    routers: Sequence[APIRouter],
    subscriptions: Sequence[Subscription[Any]] = (),
) -> FastAPI:
    """Make a service's API; `request.app.state.baton` is the service's `App`.

    The interactive pages that load from a CDN are off; the document is at `/openapi.json`.
    """
    api = FastAPI(title=title, version=version, description=description, docs_url=None, redoc_url=None)
    api.state.baton = app
    add_problem_handlers(api)
    for router in routers:
        api.include_router(router)
    api.include_router(operate.create_router(subscriptions))
    api.add_middleware(Traced)
    return api
