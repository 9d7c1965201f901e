"""The providers' examples as they stand on the wire, a folder each, for the one conformance suite.

Values are invented, names and nesting are the providers'. `X.expected.json` beside an example says what must be read
from it.
"""

from intake_providers import generic, google_ads, hubspot, standard_webhooks, tally, typeform
from intake_providers.sample import EMAIL, PHONE, PUBLIC_URL, Sample

__all__ = ["EMAIL", "PHONE", "PUBLIC_URL", "SAMPLES", "Sample"]

SAMPLES = {
    module.SAMPLE.provider: module.SAMPLE
    for module in (generic, google_ads, hubspot, standard_webhooks, tally, typeform)
}
