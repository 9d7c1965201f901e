"""Google Ads lead forms: the key stands in the body."""

from intake_providers.sample import Sample

SAMPLE = Sample(
    "google_ads",
    key="CjwKTEST_aBcDeF0123456789-opaque",
    secret="our-shared-key",
    proof="secret in the body",
    reply=(200, b"{}"),
    add=lambda tree, more: tree["user_column_data"].extend(
        {"column_id": name, "string_value": value} for name, value in more.items()
    ),
    as_test=lambda tree: tree | {"is_test": True},
)
