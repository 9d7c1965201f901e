"""One database a service, with one role that owns it and one, with fewer rights, that works in it."""

import asyncio
import hashlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from baton_local.services import ServiceSpec
from baton_local.stack_secrets import Secrets


async def create_databases(admin_url: str, services: Sequence[ServiceSpec], secrets: Secrets) -> None:
    """Create databases and roles, or bring them to this state; repeatable.

    `<package>_owner` owns the schema and runs migrations. `<package>` reads and writes rows, cannot change
    tables, and none of its transactions lasts longer than a minute. Neither can enter another
    service's database.
    """
    admin = await asyncpg.connect(admin_url)
    try:
        roles = {row["rolname"] for row in await admin.fetch("SELECT rolname FROM pg_roles")}
        databases = {row["datname"] for row in await admin.fetch("SELECT datname FROM pg_database")}
        for service in services:
            for role, password in (
                (f"{service.package}_owner", secrets.owners[service.name]),
                (service.package, secrets.apps[service.name]),
            ):
                verb = "ALTER" if role in roles else "CREATE"
                await admin.execute(f"{verb} ROLE {_name(role)} LOGIN PASSWORD {_text(password)}")
            # The age of the oldest open transaction is one of the service's metrics; without this right
            # it sees only its own.
            await admin.execute(f"GRANT pg_read_all_stats TO {_name(service.package)}")
            await admin.execute(f"ALTER ROLE {_name(service.package)} SET transaction_timeout = '60s'")
            if service.database not in databases:
                owner = _name(f"{service.package}_owner")
                await admin.execute(f"CREATE DATABASE {_name(service.database)} OWNER {owner}")
    finally:
        await admin.close()
    await asyncio.gather(*(_grant(admin_url, service) for service in services))


async def is_migrated(url: str, package: str, *, api_key: str) -> bool:
    """True when the database is at the newest revision and knows the operator's key: `migrate` would change nothing.

    Reads the revision files as text: a stack that starts again need not import each service once more to learn that.
    """
    newest = newest_revision(package)
    if newest is None:
        return False
    connection = await asyncpg.connect(url)
    try:
        at = [row[0] for row in await connection.fetch("SELECT version_num FROM alembic_version")]
        # A restored database knows the operator of the machine it was backed up on.
        digest = hashlib.sha256(api_key.encode()).digest()
        known = await connection.fetchval("SELECT EXISTS (SELECT FROM api_key WHERE digest = $1)", digest)
        return at == [newest] and bool(known)
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()


def newest_revision(package: str) -> str | None:
    """The one revision of the package that no other builds on, or None when that cannot be told."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    versions = Path(spec.submodule_search_locations[0]) / "migrations" / "versions"
    texts = [path.read_text() for path in versions.glob("*.py")]
    found = {name for text in texts for name in re.findall(r'^revision\b[^=\n]*= *"([^"]+)"', text, re.MULTILINE)}
    built_on = {
        name for text in texts for name in re.findall(r'^down_revision\b[^=\n]*= *"([^"]+)"', text, re.MULTILINE)
    }
    newest = found - built_on
    return newest.pop() if len(newest) == 1 else None


async def _grant(admin_url: str, service: ServiceSpec) -> None:
    owner, app, database = _name(f"{service.package}_owner"), _name(service.package), _name(service.database)
    connection = await asyncpg.connect(admin_url, database=service.database)
    try:
        await connection.execute(
            f"""
            REVOKE ALL ON DATABASE {database} FROM PUBLIC;
            GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {owner}, {app};
            GRANT USAGE ON SCHEMA public TO {app};
            ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
                GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO {app};
            ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT ALL ON SEQUENCES TO {app};
            """
        )
    finally:
        await connection.close()


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
