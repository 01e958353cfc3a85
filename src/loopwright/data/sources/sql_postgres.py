"""Reads times of PostgreSQL that Python has none for, such as ``infinity``, as texts, for the contract to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMES = ("date", "timestamp", "timestamptz")


def keep_far_times(engine: sa.Engine) -> None:
    """Let the connections of an engine on psycopg give a time beyond Python's calendar as its text."""
    if engine.dialect.driver != "psycopg":
        return

    @sa.event.listens_for(engine, "connect")
    def register(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
        from psycopg.pq import Format  # noqa: PLC0415 - the adapter of the driver

        for name in _TIMES:
            kind = connection.adapters.types[name].oid
            inner = connection.adapters.get_loader(kind, Format.TEXT)
            if inner is not None:
                connection.adapters.register_loader(kind, _far(inner))


def _far(inner: Callable[..., Any]) -> type:
    from psycopg import DataError  # noqa: PLC0415 - as above
    from psycopg.adapt import Loader  # noqa: PLC0415 - as above

    class FarTime(Loader):
        """Loads as psycopg does, and what it refuses as text."""

        def __init__(self, oid: int, context: Any = None) -> None:  # noqa: ANN401 - psycopg's own
            super().__init__(oid, context)
            self._inner = inner(oid, context)

        def load(self, data: Any) -> object:  # noqa: ANN401 - psycopg's own
            """Return a time, or its text."""
            try:
                return self._inner.load(data)
            except DataError:
                return bytes(data).decode()

    return FarTime
