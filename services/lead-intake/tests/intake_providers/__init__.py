"""The providers' examples as they stand on the wire, a folder each, for the one conformance suite.

Values are invented, names and nesting are the providers'. `X.expected.json` beside an example says what must be read
from it.
"""

from intake_providers import (
    calendly,
    generic,
    google_ads,
    gravity_forms,
    hubspot,
    jotform,
    linkedin,
    meta,
    segment,
    standard_webhooks,
    tally,
    tiktok,
    tilda,
    typeform,
    unbounce,
    vk_lead_forms,
    webflow,
)
from intake_providers.sample import EMAIL, PHONE, PUBLIC_URL, Sample

__all__ = ["EMAIL", "PHONE", "PUBLIC_URL", "SAMPLES", "Sample"]

_MODULES = (
    calendly,
    generic,
    google_ads,
    gravity_forms,
    hubspot,
    jotform,
    linkedin,
    meta,
    segment,
    standard_webhooks,
    tally,
    tiktok,
    tilda,
    typeform,
    unbounce,
    vk_lead_forms,
    webflow,
)

SAMPLES = {module.SAMPLE.provider: module.SAMPLE for module in _MODULES}
