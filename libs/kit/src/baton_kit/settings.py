"""Settings from the environment: typed, frozen, passed down, no default for a secret."""

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

PREFIX = "BATON_"


class DatabaseSettings(BaseModel):
    """How to reach the service's own PostgreSQL database; time-outs in milliseconds."""

    model_config = ConfigDict(frozen=True)

    url: SecretStr
    pool_size: int = Field(default=10, ge=2, le=200)
    connect_timeout_ms: int = 800
    statement_timeout_ms: int = 15_000
    lock_timeout_ms: int = 5_000
    transaction_timeout_ms: int = 60_000


class KafkaSettings(BaseModel):
    """How to reach Kafka; `topic_prefix` separates installations on a shared cluster."""

    model_config = ConfigDict(frozen=True)

    bootstrap_servers: str
    topic_prefix: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    session_timeout_ms: int = 10_000


class HttpSettings(BaseModel):
    """Where the process listens: the API, the public listener that providers call, and the internal one for health."""

    model_config = ConfigDict(frozen=True)

    host: str = "127.0.0.1"
    port: int | None = None
    public_host: str | None = None
    public_port: int | None = None
    ops_host: str = "127.0.0.1"
    ops_port: int | None = None


class ServiceSettings(BaseSettings):
    """What every service needs; a service subclasses it for its own."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database: DatabaseSettings
    kafka: KafkaSettings
    http: HttpSettings = HttpSettings()
    seal_key: SecretStr
    bootstrap_api_key: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str | None = None
    trace_sample_ratio: float = Field(default=1.0, ge=0, le=1)

    @field_validator("seal_key")
    @classmethod
    def _seal_key_has_32_bytes(cls, value: SecretStr) -> SecretStr:
        try:
            key = base64.b64decode(value.get_secret_value(), validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ValueError("must be the base64 of 32 random bytes, as `openssl rand -base64 32` prints them")
        return value

    @property
    def seal_key_bytes(self) -> bytes:
        """The 32 bytes that seal secrets in tables."""
        return base64.b64decode(self.seal_key.get_secret_value())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment with its `…_FILE` variables."""
        return init_settings, _EnvironmentWithFiles(settings_cls)


class _EnvironmentWithFiles(EnvSettingsSource):
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in with_files(os.environ).items()}


def with_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with each `BATON_X_FILE` replaced by `BATON_X` holding that file's text, stripped."""
    result = dict(environment)
    for name, path in environment.items():
        if name.startswith(PREFIX) and name.endswith("_FILE"):
            try:
                result[name.removesuffix("_FILE")] = Path(path).read_text().strip()
            except OSError as error:
                # Left unset: the missing setting is then reported with all the others.
                print(f"{name}: {error.strerror}: {path}", file=sys.stderr)  # noqa: T201
    return result


S = TypeVar("S", bound=ServiceSettings)


def load_settings(cls: type[S]) -> S:
    """Read the settings, or print all errors at once, without the refused values, and exit with 2."""
    try:
        return cls()  # type: ignore[call-arg]  # the fields come from the environment
    except SettingsError as error:
        # A value that should be JSON and is not; the text names the field only.
        print(f"The configuration is wrong:\n  {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    except ValidationError as error:
        print("The configuration is wrong:", file=sys.stderr)  # noqa: T201
        for line in error.errors(include_input=False, include_url=False):
            name = PREFIX + "__".join(str(part) for part in line["loc"]).upper()
            print(f"  {name}: {line['msg']}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
