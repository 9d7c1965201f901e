"""What takes longer: a million journeys, from their file on."""

import time

import numpy as np

from baton_models.figures import Options, every_model, names
from baton_models.reading import read_journeys

JOURNEYS = 1_000_000
SECONDS = 20
"""Of one core, reading included, for every model with all four orders. Measured: about 5."""


def test_a_million_journeys_are_credited_under_every_model_in_seconds() -> None:
    draw = np.random.default_rng(7)
    lengths = 1 + np.minimum(30, draw.exponential(3, JOURNEYS).astype(int))
    names_of = [f"channel {n}" for n in range(10)]
    touches = [names_of[n] for n in draw.integers(0, 10, lengths.sum()).tolist()]
    wins = (draw.random(JOURNEYS) < 0.2).astype(int)
    values = (draw.integers(1, 10**7, JOURNEYS) * wins).tolist()
    ends = np.cumsum(lengths).tolist()
    lines = ["path,conversions,value,nulls"]
    for end, length, win, value in zip(ends, lengths.tolist(), wins.tolist(), values, strict=True):
        lines.append(f"{' > '.join(touches[end - length : end])},{win},{value},{1 - win}")
    won, worth = int(wins.sum()), sum(values)
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
