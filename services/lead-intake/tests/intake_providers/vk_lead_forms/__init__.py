"""VK lead forms: the secret stands in the body, a confirmation comes first."""

from typing import Any

from intake_providers.sample import Handshake, Sample


def add(tree: Any, more: dict[str, Any]) -> None:
    tree["object"]["answers"] += [{"key": n, "question": n, "answer": v} for n, v in more.items()]


SAMPLE = Sample(
    "vk_lead_forms",
    key="1100220033",
    secret="our-vk-secret",
    proof="secret in the body",
    reply=(200, b"ok"),
    statuses=(200,),
    add=add,
    settings={"group_id": "201112223", "confirmation": "a1b2c3d4"},
    handshake=Handshake(
        body=b'{"type":"confirmation","group_id":201112223}', status=200, answer=b"a1b2c3d4", content_type="text/plain"
    ),
)
