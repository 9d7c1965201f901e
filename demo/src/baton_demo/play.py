"""Play the month: set up, send every lead through the front door, let sales answer, close the deals."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

import httpx2
from rich.console import Console

from baton_demo.answers import answer, close_deals, deliver, open_cases
from baton_demo.caught_up import caught_up
from baton_demo.month import Month, Submission, make_month
from baton_demo.payloads import Door, door_request
from baton_demo.place import Client, Memory, Place, add_people, remember
from baton_demo.progress import Advance, step
from baton_demo.setup import agree, connect_crms, hire, open_doors, plan_campaigns

AT_ONCE = 16


def month_of(memory: Memory) -> Month:
    """The month that this memory is of."""
    return make_month(seed=memory.seed, leads=memory.leads, until=datetime.fromisoformat(memory.until))


async def play(place: Place, memory: Memory, console: Console) -> None:
    """Bring the system to the end of the month, from wherever an earlier run left it.

    Every delivery has the provider's id and every write an idempotency key, both the same each time: to play again
    changes nothing.
    """
    month = month_of(memory)
    limits = httpx2.Limits(max_connections=AT_ONCE * 2, max_keepalive_connections=AT_ONCE * 2)
    async with httpx2.AsyncClient(timeout=30, limits=limits, trust_env=False) as http:
        client = Client(place, http)

        with step(console, "setting up", 4) as advance:
            doors = await open_doors(client, memory)
            advance(1)
            await plan_campaigns(client, month.until)
            await hire(client)
            advance(2)
            await connect_crms(client, memory)
            advance(3)
            await agree(client, memory)
            add_people(place.home, memory)
            advance(4)
            await caught_up(client)

        with step(console, "sending leads", len(month.submissions)) as advance:
            await send(client, month, doors, advance)
        with step(console, "deciding and handing over", 1) as advance:
            await caught_up(client)
            cases = await open_cases(client, month)
            advance(1)
        with step(console, "sales answers", len(cases)) as advance:
            await answer(client, cases, month, advance)
        if not memory.closing_at:
            memory.closing_at = datetime.now(tz=month.until.tzinfo).isoformat(timespec="milliseconds")
            remember(place.home, memory)
        with step(console, "closing deals", sum(c.deal is not None for c in cases)) as advance:
            await close_deals(client, cases, month, memory, advance)
        with step(console, "attributing revenue", 1) as advance:
            await caught_up(client)
            advance(1)
    memory.played = True
    remember(place.home, memory)


async def send(client: Client, month: Month, doors: dict[str, Door], advance: Advance) -> None:
    """Every submission through the public listener, many people at once, each person's own in order."""
    limit = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(chain: Sequence[Submission]) -> None:
        nonlocal done
        for submission in chain:
            async with limit:
                request = door_request(submission, doors[submission.source], now=time.time())
                await deliver(client, request, expect=(401,) if submission.oddity == "bad_signature" else (200, 202))
            done += 1
            advance(done)

    await asyncio.gather(*(one(chain) for chain in month.chains()))
