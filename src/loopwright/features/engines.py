"""What runs the feature views, by ``[engine] url`` and ``memory``; a new engine is a file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import SettingsError
from loopwright.core.sizes import parse_size
from loopwright.features.engine_duckdb import DuckEngine
from loopwright.features.engine_spark import SparkEngine
from loopwright.features.spark_process import SCHEME

if TYPE_CHECKING:
    from loopwright.core.settings import Settings
    from loopwright.features.engine import FeatureEngine


def open_engine(settings: Settings) -> FeatureEngine:
    """Return the engine that the settings name; it starts nothing before its first session.

    Raises:
        SettingsError: If no engine of this kind is known.
    """
    url = settings.engine_url
    if url.startswith("duckdb://"):
        return DuckEngine(memory_bytes=parse_size(settings.engine_memory))
    if url.startswith(SCHEME):
        return SparkEngine(url, memory_bytes=parse_size(settings.engine_memory))
    raise SettingsError(f"The setting [engine] url cannot be {url!r}.", hint=f"Known: duckdb://, {SCHEME}.")
