"""Sign an agreement of twenty rules that the bench's leads meet, as two people would over REST."""

from pathlib import Path

import httpx2

from baton_local.stack import Stack

AGREEMENT = Path(__file__).with_name("agreement.yaml")


async def agree(stack: Stack) -> str:
    """Propose, sign twice, return the digest that is active then."""
    base = stack.url("qualification")
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        operator = {"Authorization": f"Bearer {stack.api_key}"}
        answer = await client.post(
            f"{base}/v1/agreements",
            content=AGREEMENT.read_bytes(),
            headers={**operator, "Content-Type": "application/yaml"},
        )
        answer.raise_for_status()
        digest: str = answer.json()["digest"]
        for person, department in (("bench-marketing", "marketing"), ("bench-sales", "sales")):
            made = await client.post(
                f"{base}/v1/people",
                json={"id": person, "name": person, "department": department},
                headers=operator,
            )
            made.raise_for_status()
            signed = await client.post(
                f"{base}/v1/agreements/{digest}/signatures",
                json={"digest": digest},
                headers={"Authorization": f"Bearer {made.json()['api_key']}"},
            )
            signed.raise_for_status()
    return digest
