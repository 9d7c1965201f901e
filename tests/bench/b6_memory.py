"""B6: each process stays below 200 MB under load, and does not grow while the load goes on."""

import asyncio

from baton_local.stack import Stack

from .b1_intake import signed_requests
from .load import open_loop
from .memory import Memory
from .result import Figure, Say

RATE = 100
MOST = 200.0
FLAT = 1.10


async def measure(stack: Stack, say: Say, *, minutes: int, memory: Memory) -> Figure:
    """Send 100 leads a second through the whole chain and sample every process each ten seconds."""
    port = stack.services["lead-intake"].public_port
    assert port is not None
    processes = [(service, role) for service in stack.services for role in ("api", "worker")]
    slices = minutes * 6
    for n in range(slices):
        await open_loop(port, signed_requests(RATE * 10, run=f"m{n}", port=port), rate=RATE)
        for service, role in processes:
            memory.sample(f"{service} {role}", stack.pid(service, role))
        if n % 6 == 5:
            worst = max(memory.peaks().values())
            say(f"B6 minute {n // 6 + 1}/{minutes}: the largest process holds {worst:.0f} MB")
        await asyncio.sleep(0)
    figure = Figure(
        "B6", f"resident memory of the largest process over {minutes} min at {RATE}/s", "MB", "<= 200 MB; flat"
    )
    growth = {}
    for name, found in memory.samples.items():
        # The first minute fills caches and pools; growth is judged from then on.
        settled = found[6:] or found
        third = max(1, len(settled) // 3)
        growth[name] = round((sum(settled[-third:]) / third) / (sum(settled[:third]) / third), 3)
    peaks = memory.peaks()
    figure.pairs = [(max(peaks.values()), 0.0)]
    figure.more = {"peak_mb": peaks, "growth_last_to_first_third": growth, "minutes": minutes}
    figure.met = max(peaks.values()) <= MOST and max(growth.values()) <= FLAT
    return figure
