"""The public listener: webhooks, the form for the phone and the tracking API, and nothing else."""

from starlette.routing import Route, Router
from starlette.types import ASGIApp

from baton_kit.web import Traced
from lead_intake.app import App
from lead_intake.public import FormPage, Webhooks
from lead_intake.tracking.public import PATHS, Tracking


def create_public(app: App) -> ASGIApp:
    """Make the public side."""
    webhooks, tracking = Webhooks(app), Tracking(app)
    routes = [
        Route("/v1/webhooks/{source}", endpoint=webhooks),
        Route("/v1/webhooks/{source}/{token}", endpoint=webhooks),
        Route("/v1/forms/{source}/{token}", endpoint=FormPage(webhooks)),
        *(Route(f"/v1/{path}", endpoint=tracking) for path in PATHS),
    ]
    # The bare router: the layers of an application would only repeat what the endpoints do with errors.
    router = Router(routes=routes)
    return Traced(router) if app.settings.otlp_endpoint else router
