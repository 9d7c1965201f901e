"""The jars of Kafka: named with their SHA-256 in kafka-jars.txt, fetched once, verified at every start."""

import fcntl
import hashlib
import importlib.resources
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from baton_local.process import LocalError

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar: Maven coordinates and the SHA-256 of its bytes in hexadecimal."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name in the class path directory."""
        return f"{self.artifact}-{self.version}.jar"


def jar_list() -> tuple[Jar, ...]:
    """The jars that make a broker, as the packaged list names them."""
    text = (importlib.resources.files("baton_local") / "kafka-jars.txt").read_text()
    return tuple(_parse(line) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def cache_directory() -> Path:
    """Where downloads are kept between runs: BATON_CACHE_DIR, else ~/.cache/baton (XDG_CACHE_HOME counts)."""
    named = os.environ.get("BATON_CACHE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "baton"


def ensure_jars(*, on_progress: Progress | None = None, cache: Path | None = None) -> Path:
    """Return a directory that holds exactly the listed jars, each with the listed checksum.

    Missing ones are downloaded; a present one whose bytes differ is fetched again. Safe to call from several
    processes at once. Raises LocalError when a download fails or has other bytes than listed.
    """
    jars = jar_list()
    digest = hashlib.sha256("".join(jar.sha256 for jar in jars).encode()).hexdigest()[:12]
    home = cache or cache_directory()
    directory = home / f"kafka-{digest}"
    directory.mkdir(parents=True, exist_ok=True)
    with _only_one(home / f"kafka-{digest}.lock"):
        with ThreadPoolExecutor(2) as pool:
            right = list(pool.map(lambda jar: _is_right(directory / jar.file_name, jar), jars))
        for stranger in {path.name for path in directory.iterdir()} - {jar.file_name for jar in jars}:
            (directory / stranger).unlink()  # whatever lies here is on the class path
        missing = [jar for jar, ok in zip(jars, right, strict=True) if not ok]
        for done, jar in enumerate(missing):
            if on_progress is not None:
                on_progress(f"fetching {jar.file_name}", done, len(missing))
            _fetch(jar, into=directory)
        if missing and on_progress is not None:
            on_progress("Kafka's jars are here, checksums right", len(missing), len(missing))
    return directory


def _parse(line: str) -> Jar:
    coordinates, checksum = line.split()
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, checksum.removeprefix("sha256:"))


def _is_right(path: Path, jar: Jar) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256


def _fetch(jar: Jar, *, into: Path) -> None:
    from jgo.maven import MavenContext

    # One artifact at a time and never its dependencies: a resolver mixes other versions in.
    scratch = into.parent / f"{into.name}.part"
    try:
        context = MavenContext(repo_cache=scratch, timeout=60)
        project = context.project(jar.group, jar.artifact)
        fetched = Path(project.at_version(jar.version).artifact().resolve())
        if not _is_right(fetched, jar):
            raise LocalError(
                f"{jar.file_name} came with other bytes than kafka-jars.txt names; nothing of it was used. "
                "Check the proxy or mirror between this machine and Maven Central, then start again"
            )
        fetched.replace(into / jar.file_name)
    except LocalError:
        raise
    except Exception as error:
        raise LocalError(
            f"could not download {jar.file_name} ({type(error).__name__}): check the network and the proxy "
            f"(HTTPS_PROXY), or put the file into {into}, then start again"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
