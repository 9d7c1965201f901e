"""A service on a database of its own, and the events that tests tell stories with."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attribution.app import SERVICE, App
from baton_kit.testing import Harness, Server, open_harness


@pytest.fixture
async def attribution(postgres_server: Server) -> AsyncIterator[Harness[App]]:
    async with open_harness(SERVICE, postgres_server) as harness:
        yield harness
