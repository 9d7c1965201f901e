"""Segment and RudderStack: calls of their libraries as their Spec writes them; nothing is signed."""

from intake_providers.sample import Sample

SAMPLE = Sample(
    "segment",
    key="022bb90c-bbac-11e4-8dfc-aa07a5b093db",
    proof="token",
    reply=(200, b'{"success": true}'),
    add=lambda tree, more: tree["traits"].update(more),
    batch=lambda trees: {"batch": list(trees), "sentAt": "2026-01-05T07:59:59.000Z"},
)
