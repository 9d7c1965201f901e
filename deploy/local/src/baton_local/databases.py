"""One database a service, with one role that owns it and one, with fewer rights, that works in it."""

import asyncio
from collections.abc import Sequence

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
