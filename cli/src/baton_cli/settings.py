"""Where the services are and with which key: `.baton/cli.json` found upward from here, below the environment."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton_cli.output import Failed

DEFAULT_URLS = {
    "lead-intake": "http://127.0.0.1:8101",
    "qualification": "http://127.0.0.1:8102",
    "sales-feedback": "http://127.0.0.1:8103",
    "attribution": "http://127.0.0.1:8104",
}
SERVICES = tuple(DEFAULT_URLS)
_SECRET = ("key", "password", "secret")


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who signs, with the API key of their own."""

    id: str
    api_key: str
    department: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command knows of an installation. `origin` says for each value where it came from."""

    urls: Mapping[str, str]
    ops_urls: Mapping[str, Mapping[str, str]]  # of a service, by role
    public_urls: Mapping[str, str]
    database_urls: Mapping[str, str | None]
    kafka: Mapping[str, str]
    api_key: str | None
    people: Mapping[str, Person]
    file: Path | None
    origin: Mapping[str, str]

    @property
    def readable_by_others(self) -> bool:
        """Whether the file that holds the keys can be read by anyone but its owner."""
        return self.file is not None and bool(self.file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def load(home: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; without a file the addresses of the local stack hold.

    `home` is the state directory (`.baton`) or the folder that holds it. Raises Failed when a named home has no
    cli.json, or when the file is not what it should be.
    """
    environment = os.environ if environment is None else environment
    named = home or (Path(environment["BATON_HOME"]) if environment.get("BATON_HOME") else None)
    file = _file_in(named) if named else _file_above(Path.cwd())
    content = _read(file) if file else {}
    origin: dict[str, str] = {}

    def chosen(name: str, from_variable: str, in_file: Any, default: str | None = None) -> str | None:
        value, where = (in_file, str(file)) if in_file is not None else (default, "default")
        if (from_environment := _value_of(from_variable, environment)) is not None:
            value, where = from_environment, from_variable
        origin[name] = where if value is not None else "not set"
        return None if value is None else str(value)

    urls = {}
    for service, default in DEFAULT_URLS.items():
        in_file = _section(content, service).get("url")
        urls[service] = str(chosen(service, variable(service, "URL"), in_file, default)).rstrip("/")
    database_urls = {
        service: chosen(
            f"{service} database", variable(service, "DATABASE_URL"), _section(content, "databases").get(service)
        )
        for service in SERVICES
    }
    kafka: dict[str, str] = {}
    defaults = {"bootstrap_servers": "127.0.0.1:19092", "topic_prefix": ""}
    kafka_in_file = _section(content, "kafka")
    for name in [*defaults, "security_protocol", "sasl_mechanism", "sasl_username", "sasl_password", "ssl_cafile"]:
        value = chosen(f"kafka.{name}", f"BATON_KAFKA__{name.upper()}", kafka_in_file.get(name), defaults.get(name))
        if value is not None:
            kafka[name] = value
    people = {
        str(id): Person(str(id), str(person["api_key"]), str(person.get("department", "")))
        for id, person in _section(content, "people").items()
        if isinstance(person, dict) and "api_key" in person
    }
    return Settings(
        urls=urls,
        ops_urls={service: _ops(_section(content, service)) for service in SERVICES},
        public_urls={str(name): str(url).rstrip("/") for name, url in _section(content, "public").items()},
        database_urls=database_urls,
        kafka=kafka,
        api_key=chosen("api_key", "BATON_API_KEY", content.get("api_key")),
        people=people,
        file=file,
        origin=origin,
    )


def person_key(settings: Settings, person: str | None) -> str:
    """The API key with which a person signs: of `person` in cli.json, else BATON_PERSON_KEY. Raises Failed."""
    if person is not None:
        if person in settings.people:
            return settings.people[person].api_key
        known = ", ".join(sorted(settings.people)) or "none"
        raise Failed(
            f"no key of {person} is known here",
            f"Known: {known}. Add it under `people` in {settings.file or '.baton/cli.json'}, or set BATON_PERSON_KEY.",
        )
    key = _value_of("BATON_PERSON_KEY", os.environ)
    if key is None:
        raise Failed("whose signature?", "Say `--as NAME`, or set BATON_PERSON_KEY to the signer's own API key.")
    return key


def redacted(value: Any, name: str = "") -> Any:
    """The value with everything secret replaced by `***`."""
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, str) and any(part in name for part in _SECRET):
        return "***"
    return value


def variable(service: str, what: str) -> str:
    """The environment variable that holds `what` of a service: `BATON_LEAD_INTAKE_URL`."""
    return f"BATON_{service.upper().replace('-', '_')}_{what}"


def _value_of(name: str, environment: Mapping[str, str]) -> str | None:
    if environment.get(name):
        return environment[name]
    path = environment.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise Failed(f"{name}_FILE cannot be read: {error.strerror}", f"It names {path}.") from None


def _file_in(home: Path) -> Path:
    for candidate in (home / "cli.json", home / ".baton" / "cli.json"):
        if candidate.is_file():
            return candidate
    raise Failed(f"{home} holds no cli.json", "`make up` writes it when the stack starts; or point --home elsewhere.")


def _file_above(folder: Path) -> Path | None:
    candidates = (parent / ".baton" / "cli.json" for parent in (folder, *folder.parents))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Failed(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Failed(f"{file} is not a JSON object")
    return content


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name)
    return section if isinstance(section, dict) else {}


def _ops(section: Mapping[str, Any]) -> dict[str, str]:
    roles = {"api": section.get("ops"), "worker": section.get("worker_ops")}
    return {role: str(url).rstrip("/") for role, url in roles.items() if url}
