"""What providers put on the wire: one file each, signed as the provider signs. Pure.

`door_request` is the one entrance for leads; the CRM files have their own functions.
"""

from baton_demo.month import Submission
from baton_demo.payloads import generic, google_ads, hubspot, standard_webhooks, tally, typeform
from baton_demo.payloads.wire import Door, Request, spoilt

PROVIDERS = {
    "google_ads": google_ads.request,
    "typeform": typeform.request,
    "tally": tally.request,
    "hubspot": hubspot.request,
    "standard_webhooks": standard_webhooks.request,
    "generic": generic.request,
}

__all__ = ["PROVIDERS", "Door", "Request", "door_request"]


def door_request(submission: Submission, door: Door, *, now: float) -> Request:
    """The delivery of one submission as its provider sends it at `now` (Unix seconds), odd where it says so."""
    return spoilt(PROVIDERS[door.provider](submission, door, now=now), submission.oddity)
