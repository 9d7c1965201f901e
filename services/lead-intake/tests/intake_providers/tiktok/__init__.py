"""TikTok: known by the token in its address; a signature is checked where one comes (`test_fetching`)."""

from typing import Any

from intake_providers.sample import Sample


def add(tree: Any, more: dict[str, Any]) -> None:
    tree["entry"][0]["changes"] += [{"field": name, "value": value} for name, value in more.items()]


SAMPLE = Sample(
    "tiktok",
    key="7590011223344556677",
    proof="token",
    add=add,
    batch=lambda trees: {
        "object": 1,
        "entry": [tree["entry"][0] if isinstance(tree, dict) else tree for tree in trees],
    },
)
