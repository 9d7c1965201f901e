"""Exports with a known truth."""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from baton_evidence.table import Table, read_table


def csv_of(columns: Mapping[str, Sequence[object]], *, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def table_of(columns: Mapping[str, Sequence[object]]) -> Table:
    return read_table(csv_of(columns))


def leads(rows: int, *, seed: int = 7, noise: float = 1.0) -> dict[str, list[object]]:
    """Leads of a firm that wins with referrals, with larger companies and with those who looked at prices."""
    random = np.random.default_rng(seed)
    source = random.choice(["Google", "Referral", "Facebook", "Выставка"], size=rows, p=[0.5, 0.15, 0.25, 0.1])
    employees = np.round(np.exp(random.normal(3.5, 1.3, size=rows))).astype(int)
    pages = random.poisson(4, size=rows)
    country = random.choice(["DE", "AT", "RU", "US"], size=rows)
    odds = (
        -1.6
        + 1.8 * (source == "Referral")
        - 0.7 * (source == "Facebook")
        + 1.2 * (employees >= 50)
        + 0.8 * (pages >= 6)
        + 1.2 * ((country == "DE") & (employees >= 50))
    )
    won = random.random(rows) < 1 / (1 + np.exp(-odds / noise))
    budget = np.where(random.random(rows) < 0.4, "", np.char.mod("%d", random.integers(1, 90, rows) * 1000))
    return {
        "lead id": [f"L{n:06d}" for n in range(rows)],
        "source": source.tolist(),
        "Сотрудников": employees.tolist(),
        "pages": pages.tolist(),
        "country": country.tolist(),
        "budget": budget.tolist(),
        "converted": ["Yes" if one else "No" for one in won],
    }
