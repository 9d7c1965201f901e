import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baton_kit.testing import Harness, Server, open_harness

sys.path.insert(0, str(Path(__file__).parent))

from lead_intake.app import App
from lead_intake.service import SERVICE


@pytest.fixture
async def intake(postgres_server: Server) -> AsyncIterator[Harness[App]]:
    async with open_harness(SERVICE, postgres_server) as harness:
        yield harness
