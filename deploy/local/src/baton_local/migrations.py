"""`python -m baton_local.migrations DIRECTORY`: hold every service's migrations against its tables.

Applies them twice to a fresh PostgreSQL, compares the result with the code (alembic check), and writes them as SQL
into the directory for the linter.
"""

import contextlib
import importlib.util
import sys
import tempfile
from pathlib import Path

import asyncpg
from alembic.util.exc import CommandError

from baton_kit import migration
from baton_local.kafka import run_blocking
from baton_local.postgres import Postgres
from baton_local.process import LocalError, free_ports
from baton_local.services import SERVICES, ServiceSpec


def main(directory: Path) -> int:
    """Check all services; 1 when one of them differs."""
    services = [service for service in SERVICES if importlib.util.find_spec(f"{service.package}.tables")]
    directory.mkdir(parents=True, exist_ok=True)
    [port] = free_ports(1)
    with (
        tempfile.TemporaryDirectory(prefix="baton-migrations-") as scratch,
        Postgres(Path(scratch) / "postgres", port=port, password="check", fsync=False) as server,  # noqa: S106
    ):
        return max([_check(service, server, directory) for service in services], default=0)


def _check(service: ServiceSpec, server: Postgres, directory: Path) -> int:
    run_blocking(lambda: _create_database(server.admin_url, service.database))
    url = server.url(service.database)
    try:
        migration.migrate(service.package, url=url)
        migration.migrate(service.package, url=url)
        migration.check(service.package, url=url)
        with (directory / f"{service.package}.sql").open("w") as file, contextlib.redirect_stdout(file):
            migration.sql(service.package)
    except CommandError as error:
        print(f"{service.name}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _create_database(admin_url: str, name: str) -> None:
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    finally:
        await admin.close()


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except LocalError as error:
        sys.exit(f"baton: {error}")
