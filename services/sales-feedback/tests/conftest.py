import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sales_words import PUBLIC_URL, Sales

from baton_kit.testing import Server, open_harness
from sales_feedback.service import SERVICE


@pytest.fixture
async def sales(postgres_server: Server) -> AsyncIterator[Sales]:
    """The service on a database of its own."""
    async with open_harness(SERVICE, postgres_server, public_url=PUBLIC_URL) as harness:
        yield Sales(harness)
