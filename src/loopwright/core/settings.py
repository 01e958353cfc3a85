"""Where things live: ``loopwright.toml``, overridden by ``LOOPWRIGHT_…`` variables, read once and passed down.

No other module reads the environment or the settings file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError, SettingsError
from loopwright.core.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "loopwright.toml"
_PREFIX = "LOOPWRIGHT_"
_KEYS = {
    ("store", "url"): "store_url",
    ("metadata", "url"): "metadata_url",
    ("online", "url"): "online_url",
    ("stream", "url"): "stream_url",
    ("engine", "url"): "engine_url",
    ("engine", "memory"): "engine_memory",
    ("compute", "url"): "compute_url",
    ("alerts", "urls"): "alert_urls",
    ("serving", "host"): "serving_host",
    ("serving", "port"): "serving_port",
    ("serving", "grpc_port"): "serving_grpc_port",
    ("serving", "workers"): "serving_workers",
    ("serving", "memory"): "serving_memory",
    ("serving", "docs"): "serving_docs",
    ("serving", "error_detail"): "serving_error_detail",
    ("serving", "cors_origins"): "serving_cors_origins",
    ("serving", "tls_certificate"): "serving_tls_certificate",
    ("serving", "tls_key"): "serving_tls_key",
    ("serving", "token"): "serving_token",
    ("access", "token"): "access_token",
    ("training", "memory"): "training_memory",
    ("training", "time"): "training_time",
    ("retention", "keep"): "retention_keep",
    ("retention", "quarantine"): "retention_quarantine",
    ("retention", "predictions"): "retention_predictions",
    ("retention", "restore"): "retention_restore",
    ("retention", "datasets"): "retention_datasets",
}
_NAMED = "sources"  # a section of names that the project chooses: connections and secrets
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LISTS = frozenset({"alert_urls", "serving_cors_origins"})  # with commas between, in a variable
_FROM_ENVIRONMENT_ONLY = {"serving_token", "access_token"}
_WRITTEN = {name: f"[{section}] {key}" for (section, key), name in _KEYS.items()}
# Where each backend may be, as this version knows them; the rooms that open them check the rest.
_BACKENDS = {
    "metadata_url": ("sqlite:///", "postgresql://", "postgresql+psycopg://"),
    "online_url": ("sqlite:///", "redis://", "rediss://"),
    "stream_url": ("sqlite:///", "kafka://"),
    "engine_url": ("duckdb://", "spark://"),
    "compute_url": ("local://", "ray://"),
}


class Settings(BaseModel):
    """The settings of one project.

    Relative paths in URLs are taken from the project's folder. ``LOOPWRIGHT_STORE_URL`` overrides ``[store] url``, and
    so on; secrets (``LOOPWRIGHT_SERVING_TOKEN``) are taken from the environment only. ``[sources]`` holds what the
    project's sources name: connections (``orders_db = "postgresql://…"``) and secrets (``shop_token = "…"``), which
    ``LOOPWRIGHT_SOURCES_ORDERS_DB`` and so on override.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Path
    store_url: str = ".loopwright/store"
    metadata_url: str = "sqlite:///.loopwright/loop.db"
    online_url: str = "sqlite:///.loopwright/online.db"
    stream_url: str = "sqlite:///.loopwright/stream.db"
    engine_url: str = "duckdb://"
    engine_memory: str = "2GB"
    compute_url: str = "local://"
    alert_urls: tuple[str, ...] = ()
    serving_host: str = "127.0.0.1"
    serving_port: int = Field(8642, ge=0, le=65535)
    serving_grpc_port: int | None = Field(None, ge=0, le=65535)
    serving_workers: int | None = Field(None, ge=1, le=1024)
    serving_memory: str | None = None
    serving_docs: bool = True
    serving_error_detail: bool = True
    serving_cors_origins: tuple[str, ...] = ()
    serving_tls_certificate: str | None = None
    serving_tls_key: str | None = None
    serving_token: str | None = None
    access_token: str | None = None
    training_memory: str = "8GB"
    training_time: str = "6h"
    retention_keep: str | None = None
    retention_quarantine: str | None = None
    retention_predictions: str | None = None
    retention_restore: str | None = None
    retention_datasets: dict[str, str] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict, repr=False)

    @property
    def home(self) -> Path:
        """The folder for what stays on this machine: locks, log segments, run folders."""
        return self.project / ".loopwright"

    @classmethod
    def load(cls, project: Path, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings of the project in a folder.

        Raises:
            SettingsError: If the file is no TOML, or a key or value cannot be used.
        """
        variables = os.environ if environ is None else environ
        values: dict[str, object] = _from_file(project / FILE_NAME)
        for (section, key), name in _KEYS.items():
            variable = f"{_PREFIX}{section}_{key}".upper()
            if variable in variables:
                text = variables[variable]
                values[name] = (
                    tuple(part.strip() for part in text.split(",") if part.strip()) if name in _LISTS else text
                )
        values[_NAMED] = _named(values.get(_NAMED), variables)
        try:
            settings = cls(project=project.resolve(), **values)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            raise _unusable(str(first["loc"][0]), first["input"], first["msg"].partition(",")[0]) from error
        _check(settings)
        return settings.model_copy(
            update={name: _anchored(getattr(settings, name), settings.project) for name in _ANCHORED}
        )


_ANCHORED = ("store_url", "metadata_url", "online_url", "stream_url")


def _from_file(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}.", hint="Correct the line it names.") from error
    values: dict[str, object] = {}
    for section, keys in content.items():
        if not isinstance(keys, dict):
            raise SettingsError(
                f"{path.name} holds sections only, and {section!r} is a value.", hint=f"Write [{section}] above it."
            )
        if section == _NAMED:
            values[_NAMED] = keys
            continue
        for key, value in keys.items():
            name = _KEYS.get((section, key))
            if name is None:
                close = difflib.get_close_matches(f"[{section}] {key}", _WRITTEN.values(), n=1)
                raise SettingsError(
                    f"There is no setting [{section}] {key} in {path.name}.",
                    hint=f"Did you mean {close[0]}?" if close else f"Known: {', '.join(_WRITTEN.values())}.",
                )
            if name in _FROM_ENVIRONMENT_ONLY:
                raise SettingsError(
                    f"[{section}] {key} is a secret and does not belong in {path.name}.",
                    hint=f"Set {_PREFIX}{section.upper()}_{key.upper()} in the environment.",
                )
            values[name] = tuple(value) if isinstance(value, list) else value
    return values


def _named(content: object, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the connections and secrets of the sources: those of the file, overridden by variables."""
    found: dict[str, str] = {}
    for name, value in (content if isinstance(content, dict) else {}).items():
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"[{_NAMED}] {name!r} is no name for a connection.", hint="Use lower-case letters, digits and '_'."
            )
        if not isinstance(value, str):
            raise SettingsError(f"[{_NAMED}] {name} is a {type(value).__name__}.", hint="Write it as a text.")
        found[name] = value
    prefix = f"{_PREFIX}{_NAMED}_".upper()
    return found | {key.removeprefix(prefix).lower(): variables[key] for key in variables if key.startswith(prefix)}


def _check(settings: Settings) -> None:
    for name, known in _BACKENDS.items():
        url = getattr(settings, name)
        if not url.startswith(known):
            raise _unusable(name, url, f"This version knows {', '.join(known)}")
    checked = (
        ("engine_memory", parse_size),
        ("training_memory", parse_size),
        ("serving_memory", parse_size),
        ("training_time", parse_duration),
    )
    for name, parse in checked:
        value = getattr(settings, name)
        if value is None:
            continue
        try:
            parse(value)
        except DeclarationError as error:
            raise _unusable(name, value, error.hint or error.message) from error


def _unusable(name: str, value: object, rule: str) -> SettingsError:
    written = _WRITTEN.get(name, name)
    variable = _PREFIX + written.upper().replace("[", "").replace("] ", "_")
    return SettingsError(
        f"The setting {written} cannot be {value!r}. {rule.rstrip('.')}.",
        hint=f"Correct it in {FILE_NAME} or in {variable}.",
    )


def _anchored(url: str, project: Path) -> str:
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return url if path.is_absolute() else f"sqlite:///{project / path}"
    if "://" in url:
        return url
    return str(project / url)
