"""The public listener: `POST /v1/webhooks/{crm}`, and nothing else. No framework beyond Starlette, no API key."""

import asyncio
from secrets import token_hex

from prometheus_client import Counter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from baton_kit.outages import is_outage, sqlstate
from baton_kit.raw_body import BodyRefused, read_body
from baton_kit.telemetry import log
from baton_kit.web import Traced
from sales_feedback.app import App
from sales_feedback.crms.configured import get_crm
from sales_feedback.crms.crm import DIALECTS, Crm
from sales_feedback.crms.delivery import Delivery
from sales_feedback.crms.mapping import Kind, Mapping
from sales_feedback.crms.receive import receive, refuse

DELIVERIES = Counter("baton_crm_deliveries_total", "Deliveries of CRMs by what became of them.", ["state"])

ANSWER_SECONDS = 4.0
"""HubSpot waits five seconds; an answer that comes later is a repeat that need not be."""

# Verifies what nobody signed, so that an unknown CRM takes as long to refuse as a known one.
_NOBODY = Crm("", Kind.HUBSPOT, Mapping(), (token_hex(32),))


def create_public(app: App) -> ASGIApp:
    """Make the listener that CRMs call."""

    async def webhook(request: Request) -> Response:
        return await take(app, request)

    return Traced(Starlette(routes=[Route("/v1/webhooks/{crm_id}", webhook, methods=["POST"])]))


async def take(app: App, request: Request) -> Response:
    """Answer one delivery: 200 after the commit, 401 for whoever cannot prove who it is, 503 to be asked again.

    A delivery that is proved but unreadable is kept and answered 200: sent again, it would be as unreadable.
    """
    try:
        body = await read_body(request)
    except BodyRefused as refused:
        DELIVERIES.labels("too_large" if refused.status == 413 else "unread").inc()
        return Response(status_code=refused.status)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _take(app, request, body)
    except Exception as error:
        if is_outage(error):
            log.warning("delivery_met_outage", error=type(error).__name__, sqlstate=sqlstate(error))
            DELIVERIES.labels("unavailable").inc()
            return Response(status_code=503, headers={"Retry-After": "1"})
        log.error("delivery_failed", error=type(error).__name__, exc_info=error)
        DELIVERIES.labels("failed").inc()
        return Response(status_code=500)


async def _take(app: App, request: Request, body: bytes) -> Response:
    crm_id = request.path_params["crm_id"]
    async with app.db.begin() as tx:
        crm = await get_crm(tx, app, crm_id) if "\x00" not in crm_id else None
    delivery = Delivery(request.method, _uri(app, request), dict(request.headers), body)
    asked = crm or _NOBODY
    good = DIALECTS[asked.kind].verify(delivery, asked.secrets, now=app.clock.now())
    if crm is None or not good:
        # The same bytes for a wrong signature and for a CRM that does not exist.
        DELIVERIES.labels("refused").inc()
        if app.refusals.admits(app.clock.now()):
            async with app.db.begin() as tx:
                await refuse(tx, app, crm.id if crm else None, size=len(body))
        return Response(status_code=401)
    async with app.db.begin() as tx:
        state = await receive(tx, app, crm, body)
    DELIVERIES.labels(state).inc()
    return Response(status_code=200)


def _uri(app: App, request: Request) -> str:
    """The address that the CRM called: the configured one, since a proxy may have changed what is seen here."""
    path = request.scope.get("raw_path", request.scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = request.scope["query_string"].decode("latin-1")
    return f"{app.settings.called_at}{path}" + (f"?{query}" if query else "")
