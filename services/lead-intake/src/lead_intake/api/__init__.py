"""The internal API. Webhooks are in `public`."""

from fastapi import FastAPI

from baton_kit.api import create_fastapi
from lead_intake.accounts import api as accounts
from lead_intake.api import leads, receipts, sources
from lead_intake.app import App
from lead_intake.campaigns import api as campaigns
from lead_intake.erasing import api as erasing
from lead_intake.fetching import api as fetching
from lead_intake.grouping import api as grouping
from lead_intake.handlers import SUBSCRIPTIONS
from lead_intake.identity import api as identity
from lead_intake.importing import api as imports
from lead_intake.ledger import api as ledger
from lead_intake.merging import api as merging
from lead_intake.searching import api as searching


def create_api(app: App) -> FastAPI:
    """The service's API."""
    return create_fastapi(
        app,
        title="Baton lead-intake",
        version="1.0.0",
        description="Sources, receipts and leads. Deliveries themselves go to the public listener.",
        routers=[
            sources.router,
            ledger.router,
            receipts.router,
            leads.router,
            fetching.router,
            merging.router,
            accounts.router,
            identity.router,
            grouping.router,
            campaigns.router,
            searching.router,
            erasing.router,
            imports.router,
        ],
        subscriptions=SUBSCRIPTIONS,
    )
