from collections.abc import AsyncIterator

import pytest

from baton_kit.testing import Harness, Server, open_harness
from qualification.app import App
from qualification.service import SERVICE


@pytest.fixture
async def qualification(postgres_server: Server) -> AsyncIterator[Harness[App]]:
    async with open_harness(SERVICE, postgres_server) as harness:
        yield harness
