import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from baton_kit.testing import Harness, Server, open_harness
from toy.service import SERVICE, Toy


@pytest.fixture
async def toy(postgres_server: Server) -> AsyncIterator[Harness[Toy]]:
    async with open_harness(SERVICE, postgres_server) as harness:
        yield harness
