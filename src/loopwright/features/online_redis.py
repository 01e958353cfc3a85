"""The online store on Redis: for several machines, and more reads than one file answers.

A view is one hash, so that a read of many entities is one HMGET, its size one HLEN, and dropping it one UNLINK; a Redis
Cluster spreads views, not the entities of one. A value is its two times as digits, which a script compares on the
server, and the features as MessagePack. All rows of a call and its mark go in one MULTI … EXEC. How long a write
survives the Redis server itself is up to the server's own persistence (``appendfsync``).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from loopwright.core.errors import MissingExtraError, SettingsError, StoreBusyError, StoreError, StoreFullError
from loopwright.features.online import KeyLookup, OnlineRow, Value, oldest_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

ROWS_PER_CALL = 5_000
_ANSWER_SECONDS = 10
_ZERO = 2**63  # added to microseconds, so that moments before 1970 are in order too
_TIME = 20  # digits
_WRITE = """
local written = 0
for i = 1, #ARGV, 2 do
    local old = redis.call('HGET', KEYS[1], ARGV[i])
    if not old or string.sub(old, 1, 40) <= string.sub(ARGV[i + 1], 1, 40) then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        written = written + 1
    end
end
return written
"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Value]).decode


class RedisOnlineStore:
    """Latest values in a Redis server (6 or newer).

    Args:
        url: ``redis://host:6379/0`` or ``rediss://…``; ``?prefix=name`` keeps projects on one server apart.

    Raises:
        MissingExtraError: If the package ``redis`` is not installed.
        SettingsError: If the URL cannot be used, or the server refuses its password.
        StoreError: If the server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis  # noqa: PLC0415 - only projects on Redis need it
        except ImportError as error:
            raise MissingExtraError("redis", extra="redis") from error
        self._redis = redis
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        prefix = options.pop("prefix", "loopwright")
        self.where = f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
        self._views, self._marks, self._rows = (f"{prefix}:{name}" for name in ("views", "marks", "rows"))
        try:
            self._client = redis.Redis.from_url(
                urlunsplit(parts._replace(query=urlencode(options))),
                socket_timeout=_ANSWER_SECONDS,
                socket_connect_timeout=_ANSWER_SECONDS,
            )
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"The online store {self.where} cannot be opened: {error}.", hint="Write redis://host:6379/0."
            ) from error
        self._write = self._client.register_script(_WRITE)
        with self._translated():
            self._client.ping()

    def write_many(self, view: str, rows: Iterable[OnlineRow], *, mark: str | None = None) -> int:
        """Store rows and, with them, the mark; return how many were not older than what was there."""
        pairs: list[str | bytes] = []
        for row in rows:
            pairs += (row.key, _time(row.event_us) + _time(row.available_us) + _encode(row.values))
        calls = range(0, len(pairs), 2 * ROWS_PER_CALL)
        with self._translated(), self._client.pipeline(transaction=True) as pipeline:
            for start in calls:
                self._write(keys=[self._key(view)], args=pairs[start : start + 2 * ROWS_PER_CALL], client=pipeline)
            if pairs or mark is not None:
                pipeline.sadd(self._views, view)
            if mark is not None:
                pipeline.hset(self._marks, view, mark)
            answers = pipeline.execute()
        return sum(int(answer) for answer in answers[: len(calls)])

    def read_many(
        self, view: str, keys: Sequence[str], *, now: datetime, ttl: timedelta | None
    ) -> list[OnlineRow | None]:
        """Return the row of each key, in order; None where there is none or it is older than the ttl."""
        if not keys:
            return []
        with self._translated():
            found = cast("list[bytes | None]", self._client.hmget(self._key(view), list(keys)))
        return _rows(keys, found, now, ttl)

    def read_views(self, asked: Sequence[KeyLookup], *, now: datetime) -> list[list[OnlineRow | None]]:
        """Return what ``read_many`` gives for each of several views, in one round trip."""
        with self._translated(), self._client.pipeline(transaction=False) as pipeline:
            for one in asked:
                if one.keys:
                    pipeline.hmget(self._key(one.view), list(one.keys))
            answers = iter(cast("list[list[bytes | None]]", pipeline.execute()))
        return [_rows(one.keys, next(answers), now, one.ttl) if one.keys else [] for one in asked]

    def mark(self, view: str) -> str | None:
        """Return the mark that the last write with one left, or None."""
        with self._translated():
            found = cast("bytes | None", self._client.hget(self._marks, view))
        return None if found is None else found.decode()

    def count(self, view: str) -> int:
        """Return how many entities the view has."""
        with self._translated():
            return self._client.hlen(self._key(view))

    def views(self) -> list[str]:
        """Return the names of the views that have rows or a mark, sorted."""
        with self._translated():
            return sorted(name.decode() for name in cast("set[bytes]", self._client.smembers(self._views)))

    def keys(self, view: str) -> list[str]:
        """Return the keys of the view's entities, sorted; read in pieces, so that no other caller waits for them."""
        with self._translated():
            return sorted({key.decode() for key, _ in self._client.hscan_iter(self._key(view), count=ROWS_PER_CALL)})

    def delete_many(self, view: str, keys: Sequence[str], *, mark: str | None = None) -> int:
        """Remove the rows of some entities and, with them, replace the mark; return how many rows there were."""
        calls = range(0, len(keys), ROWS_PER_CALL)
        with self._translated(), self._client.pipeline(transaction=True) as pipeline:
            for start in calls:
                pipeline.hdel(self._key(view), *keys[start : start + ROWS_PER_CALL])
            if mark is not None:
                pipeline.sadd(self._views, view)
                pipeline.hset(self._marks, view, mark)
            answers = pipeline.execute()
        return sum(int(answer) for answer in answers[: len(calls)])

    def drop(self, view: str) -> None:
        """Remove a view's rows and mark."""
        with self._translated(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.unlink(self._key(view))
            pipeline.hdel(self._marks, view)
            pipeline.srem(self._views, view)
            pipeline.execute()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, view: str) -> str:
        return f"{self._rows}:{view}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        errors: Any = self._redis.exceptions
        try:
            yield
        except errors.AuthenticationError as error:
            raise SettingsError(
                f"The online store {self.where} refuses the password: {error}.",
                hint="Correct LOOPWRIGHT_ONLINE_URL.",
            ) from error
        except errors.BusyLoadingError as error:
            raise StoreBusyError(f"The online store {self.where} is starting: {error}.", hint="Run again.") from error
        except errors.OutOfMemoryError as error:
            raise StoreFullError(
                f"The online store {self.where} has no memory left.", hint="Raise maxmemory, or drop views."
            ) from error
        except (errors.ConnectionError, errors.TimeoutError) as error:
            raise StoreError(
                f"The online store {self.where} cannot be reached: {error}.",
                hint="Start the server, or correct [online] url.",
            ) from error
        except errors.RedisError as error:
            raise StoreError(f"The online store {self.where}: {error}.") from error


def _time(micros: int) -> bytes:
    return b"%020d" % (micros + _ZERO)


def _rows(
    keys: Sequence[str], found: Sequence[bytes | None], now: datetime, ttl: timedelta | None
) -> list[OnlineRow | None]:
    oldest = b"" if ttl is None else _time(oldest_us(now, ttl))
    return [
        None if value is None or value[:_TIME] <= oldest else _row(key, value)
        for key, value in zip(keys, found, strict=True)
    ]


def _row(key: str, value: bytes) -> OnlineRow:
    event_time, available_at = value[:_TIME], value[_TIME : 2 * _TIME]
    return OnlineRow(key, int(event_time) - _ZERO, int(available_at) - _ZERO, _decode(value[2 * _TIME :]))
