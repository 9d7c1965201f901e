"""What takes longer: a million journeys from their file on, and the facts over many more examples."""

import random
import time

from baton_models.figures import Options, every_model, names
from baton_models.reading import read_journeys

JOURNEYS = 1_000_000
SECONDS = 20
"""Of one core, reading included, for every model with all four orders. Measured: about 5."""


def test_a_million_journeys_are_credited_under_every_model_in_seconds() -> None:
    draw = random.Random(7)
    channels = [f"channel {n}" for n in range(10)]
    lines = ["path,conversions,value,nulls"]
    won, worth = 0, 0
    for _ in range(JOURNEYS):
        path = " > ".join(draw.choices(channels, k=1 + min(30, int(draw.expovariate(0.33)))))
        wins, value = (1, draw.randrange(1, 10**7)) if draw.random() < 0.2 else (0, 0)
        won, worth = won + wins, worth + value
        lines.append(f"{path},{wins},{value},{1 - wins}")
    content = "\n".join(lines).encode()

    begun = time.process_time()
    read = read_journeys(content)
    options = Options(orders=(1, 2, 3, 4))
    found = every_model(read.journeys, options, models=names(read.journeys, options))
    took = time.process_time() - begun

    assert read.rows == JOURNEYS
    for figures in found.values():
        assert abs(sum(figures["conversions"].values()) - won) < 1e-6 * won
        assert abs(sum(figures["value"].values()) - worth) < 1e-6 * worth
    assert took < SECONDS
