"""Every setting, with its unit, its default and the reason for it. Each is an environment variable SLUICE_<NAME>.

An empty one counts as not given. Passwords may come from files instead: SLUICE_SECRETS_DIR names a folder with one file
a variable, called as the variable in lower case (`sluice_database_url`), the way container platforms hand secrets over.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kernel.addresses import check_shown, read_places
from kernel.words import in_words

PREFIX = "SLUICE_"
_SECRETS_DIR = f"{PREFIX}SECRETS_DIR"
_SCHEMES = {"database_url": ("postgresql://", "postgres://"), "redis_url": ("redis://", "rediss://", "unix://")}

Port = Annotated[int, Field(ge=1, le=65_535)]


class SettingsWrong(ValueError):
    """Settings that cannot be used; the message names each variable and what is wrong, never its value."""


class Settings(BaseSettings):
    """What an operator may decide. What is not here is decided by the code."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(
        default=Path(".sluice"),
        description="Folder for data, passwords and logs. Default: .sluice in the current folder, so that two "
        "checkouts never share books by accident.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL 15 to 18 (postgresql://…). Without it `sluice up` starts its own. Set it in real use.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis 7 or Valkey (redis://…, rediss://…). Without it `sluice up` starts its own. It holds "
        "nothing that cannot be restored from the database.",
    )
    pg_bin: Path | None = Field(
        default=None,
        description="Folder with postgres and initdb, for the PostgreSQL that `sluice up` starts. Default: the "
        "installed Python package's, then /usr/lib/postgresql.",
    )
    valkey_bin: Path | None = Field(
        default=None,
        description="The valkey-server that `sluice up` starts. Default: the Python package's, then the one in PATH.",
    )
    channel_keys: Path | None = Field(
        default=None,
        description="File of the master keys that seal channel credentials. Default: a file that the hub makes in "
        "SLUICE_HOME/secrets. Several hosts on one database need the same file.",
    )
    person: str | None = Field(
        default=None,
        description="The credential with which commands act: a NAME kept in SLUICE_HOME/secrets/people, or a FILE "
        "(its name has a slash). Default: the home's own. The option `--as` overrides it.",
    )
    server_user: str = Field(
        default="nobody",
        description="The user as which `sluice up` runs its own servers when it is started as root. Default: nobody, "
        "because it exists everywhere and owns nothing. Existing data stay with their owner.",
    )
    gateway_host: str = Field(
        default="127.0.0.1",
        description="Address on which the merchant API listens. Default: this machine only; a proxy in front does TLS.",
    )
    gateway_port: Port = Field(default=8400, description="Port of the merchant API.")
    ops_port: Port = Field(
        default=8401,
        description="Port of metrics and health on 127.0.0.1; separate, because merchants must not see them.",
    )
    worker_port: Port | None = Field(
        default=None,
        description="Port of a worker's own metrics and health on 127.0.0.1. Default: none, because any number of "
        "workers may run, and the gateway's metrics show what waits for them.",
    )
    sandbox_port: Port = Field(default=8410, description="Port of the sandbox on 127.0.0.1.")
    public_url: str | None = Field(
        default=None,
        description="Public address of this hub (https://pay.example.com), at which channels deliver notices and "
        "payers open pages. Default: the gateway's own address, which is enough for the sandbox on this machine.",
    )
    allow_addresses: str = Field(
        default="",
        description="Addresses at which channels and banks may be called, besides https at public hosts: hosts, "
        "addresses and networks, separated by commas, optionally with :port, and with http:// in front "
        "(10.1.2.3:8443, bank.internal). Default: none, because merchants name addresses too. `loopback` is for "
        "trials on this machine.",
    )
    time_scale: float = Field(
        default=1.0,
        gt=0,
        le=1.0,
        allow_inf_nan=False,
        description="Factor on the waits between queries to a channel: 1 in production, less for a sandbox whose "
        "waits are shortened too.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Gateway processes. Default: one, because requests in one process share commits. More processes "
        "than cores do not help.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest severity that is logged; INFO logs one line for each request."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="console for people, json (one object a line) for a log store."
    )

    @field_validator("home", "channel_keys", mode="after")
    @classmethod
    def _absolute(cls, place: Path | None, about: ValidationInfo) -> Path | None:
        try:
            return place.expanduser().absolute() if place is not None else None
        except RuntimeError:  # ~name
            what = "folder" if about.field_name == "home" else "file"
            raise ValueError(f"there is no such user's home; write the {what}'s whole path") from None

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @field_validator("database_url", "redis_url", mode="before")
    @classmethod
    def _empty_is_none(cls, url: object) -> object:
        return None if isinstance(url, str) and not url.strip() else url

    @field_validator("database_url", "redis_url")
    @classmethod
    def _server(cls, url: SecretStr | None, about: ValidationInfo) -> SecretStr | None:
        if url is not None:
            _check_server(url.get_secret_value(), _SCHEMES[str(about.field_name)])
        return url

    @field_validator("public_url")
    @classmethod
    def _public(cls, url: str | None) -> str | None:
        if url is not None:
            check_shown(url)
            if "?" in url or "#" in url:
                raise ValueError("give the address without a query and without a fragment")
        return url

    @field_validator("allow_addresses")
    @classmethod
    def _places(cls, listed: str) -> str:
        try:
            read_places(listed)
        except ValueError as error:
            raise ValueError(f"{error}; write one such as 10.1.2.3:8443") from None
        return listed

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        ports = {"gateway_port": self.gateway_port, "ops_port": self.ops_port, "sandbox_port": self.sandbox_port}
        if len(set(ports.values())) < len(ports):
            raise ValueError(f"{', '.join(map(variable, ports))} must differ; they are {sorted(ports.values())}")
        return self


def load() -> Settings:
    """Return the settings of this process's environment. Raises SettingsWrong with all that is wrong at once."""
    try:
        # mypy sees the fields only, not the arguments that pydantic-settings adds.
        return Settings(_secrets_dir=os.environ.get(_SECRETS_DIR) or None)  # type: ignore[call-arg]
    except ValidationError as error:
        lines = []
        for wrong in error.errors(include_url=False, include_input=False):
            named = "".join(f"{variable(str(part))}: " for part in wrong["loc"][:1])
            lines.append(f"{named}{in_words(wrong, do='write')}")
        raise SettingsWrong("; ".join(lines)) from None


def variable(field: str) -> str:
    """Return the environment variable of a setting: home → SLUICE_HOME."""
    return f"{PREFIX}{field}".upper()


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the SLUICE_ variables that mean nothing to us, each with the name that was perhaps meant."""
    known = [*map(variable, Settings.model_fields), _SECRETS_DIR]
    strangers = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: _nearest(name.upper(), known) for name in strangers}


def _nearest(name: str, known: list[str]) -> str | None:
    words = {full.removeprefix(PREFIX): full for full in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), words, n=1)
    return words[found[0]] if found else None


def _check_server(address: str, schemes: tuple[str, ...]) -> None:
    """Raise ValueError, which quotes nothing of it, unless an address begins so and can be taken apart."""
    if not address.startswith(schemes):
        raise ValueError(f"write an address that begins with {' or '.join(schemes)}")
    try:
        for host in urlsplit(address).netloc.rpartition("@")[2].split(","):  # PostgreSQL may have several
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(
            "this cannot be read as an address; write special characters of a password as in any address (@ is %40), "
            "and a port as a number"
        ) from None
