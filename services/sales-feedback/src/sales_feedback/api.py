"""The HTTP edge: one router a feature."""

from fastapi import FastAPI

from baton_kit.api import create_fastapi
from baton_kit.erasure_log import create_router
from sales_feedback import timeline
from sales_feedback.app import App
from sales_feedback.crms import api as crms
from sales_feedback.deals import api as deals
from sales_feedback.handlers import SUBSCRIPTIONS
from sales_feedback.handoffs import api as handoffs

VERSION = "1.0.0"


def create_api(app: App) -> FastAPI:
    """Make the API for CRMs, operators and the other parts of Baton. CRM webhooks have a listener of their own."""
    return create_fastapi(
        app,
        title="Baton sales-feedback",
        version=VERSION,
        description="Hands qualified leads to sales and takes their answers, contacts and deals back.",
        routers=[handoffs.router, deals.router, crms.router, timeline.router, create_router()],
        subscriptions=SUBSCRIPTIONS,
    )
