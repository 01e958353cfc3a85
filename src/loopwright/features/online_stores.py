"""Opens the online store that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import SettingsError
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.online_redis import RedisOnlineStore
from loopwright.features.online_sqlite import SqliteOnlineStore

if TYPE_CHECKING:
    from loopwright.features.online import OnlineStore


def online_is_there(url: str) -> bool:
    """Say whether there can be anything in the online store that a URL names: opening a file makes it."""
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()


def open_online_store(url: str) -> OnlineStore:
    """Open the online store that a URL names: ``sqlite:///path``, ``redis://host:port/db`` or ``memory://``.

    Raises:
        SettingsError: If the URL names something else.
        StoreError: If the store cannot be opened.
    """
    if url.startswith("memory://"):
        return MemoryOnlineStore()
    if url.startswith(("redis://", "rediss://")):
        return RedisOnlineStore(url)
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return SqliteOnlineStore(Path(url.removeprefix("sqlite:///")))
    raise SettingsError(
        f"The online store {url!r} is not known.",
        hint="Write sqlite:///path/to/online.db, redis://host:6379/0 or memory://.",
    )
