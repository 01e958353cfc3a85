"""The point-in-time join and its kin as Spark SQL; the rules are those of :mod:`loopwright.features.join`.

Spark has no ASOF join. Rows and examples are put into one relation instead, by entity and moment: a row at the moment
at which it was known, an example at its own, and behind the rows of that moment. The largest (event time, known at,
values) among all that came before an example, in that order, is the row that counts for it. So each side is sorted
once, whatever the number of rows of one entity, where a join on the entity makes as many pairs as rows times examples.

Values travel in one struct, which Spark compares field by field, missing values first and NaN last: the order in which
ties are broken everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.join import JoinView

ROW, MOMENT = "__row__", "__moment__"


def quote_spark(name: str) -> str:
    """Quote an identifier for Spark SQL.

    >>> quote_spark("two words")
    '`two words`'
    """
    return "`" + name.replace("`", "``") + "`"


def moment_sql(micros: int) -> str:
    """Write a moment, in microseconds since 1970, exactly."""
    return f"timestamp_micros({micros}L)"


def taken_sql(view: JoinView, examples: str, on: Sequence[str], *, ttl_us: int | None) -> str:
    """Return the SELECT of each example's number and the values of the row that counts for it.

    Args:
        view: The rows.
        examples: The table of examples: ``__row__``, ``__moment__`` and the columns of ``on``.
        on: The examples' columns that equal the view's entity.
        ttl_us: How many microseconds a row counts, or None.

    Returns:
        Columns ``__row__``, ``f0``, ``f1``, … in the order of the view's features; only examples with a row.
    """
    keys = [f"k{place}" for place in range(len(view.entity))]
    entity = "".join(f", {quote_spark(name)} AS {key}" for name, key in zip(view.entity, keys, strict=True))
    asked = "".join(f", {quote_spark(name)} AS {key}" for name, key in zip(on, keys, strict=True))
    present = " AND ".join([f"{quote_spark(name)} IS NOT NULL" for name in (*on, MOMENT)])
    by = f"PARTITION BY {', '.join(keys)} " if keys else ""
    window = f"({by}ORDER BY {MOMENT}, {ROW} IS NOT NULL ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    alive = f" AND unix_micros(taken.e) > unix_micros({MOMENT}) - {ttl_us}L" if ttl_us is not None else ""
    values = "".join(f", taken.f{place} AS f{place}" for place in range(len(view.features)))
    return (
        f"SELECT {ROW}{values} FROM (SELECT {ROW}, {MOMENT}, max(value) OVER {window} AS taken FROM ("
        f"SELECT CAST(NULL AS BIGINT) AS {ROW}, {quote_spark(view.known_at)} AS {MOMENT}{entity}, "
        f"{_struct(view)} AS value FROM {quote_spark(view.table)} WHERE {_present(view)} UNION ALL "
        f"SELECT {ROW}, {MOMENT}{asked}, NULL AS value FROM {quote_spark(examples)} WHERE {present}"
        f")) WHERE {ROW} IS NOT NULL AND taken IS NOT NULL{alive}"
    )


def latest_spark_sql(view: JoinView, *, until_us: int, after_us: int | None, ttl_us: int | None) -> str:
    """Return the SELECT of the row of each entity that counts at a moment: key, event time, known at, features."""
    event, known = quote_spark(view.event_time), quote_spark(view.known_at)
    keys = [quote_spark(name) for name in view.entity]
    tests = [_present(view), f"{known} <= {moment_sql(until_us)}"]
    if ttl_us is not None:
        tests.append(f"{event} > {moment_sql(until_us - ttl_us)}")
    listed = "".join(f"{key}, " for key in keys)
    values = "".join(f", taken.f{place} AS {quote_spark(name)}" for place, name in enumerate(view.features))
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    after = f" AND taken.k > {moment_sql(after_us)}" if after_us is not None else ""
    return (
        f"SELECT {listed}taken.e AS {event}, taken.k AS {known}{values} FROM (SELECT {listed}"
        f"max({_struct(view)}) AS taken FROM {quote_spark(view.table)} WHERE {' AND '.join(tests)}{group}) "
        f"WHERE taken IS NOT NULL{after}"
    )


def duplicate_sql(view: JoinView) -> str:
    """Return the SELECT of (entity…, event time, known at, count), as text, of rows that share all three; or none."""
    keys = [quote_spark(name) for name in (*view.entity, view.event_time, view.known_at)]
    present = " AND ".join(f"{quote_spark(name)} IS NOT NULL" for name in (*view.entity, view.event_time))
    texts = ", ".join(f"CAST({key} AS STRING)" for key in keys)
    return (
        f"SELECT {texts}, CAST(count(*) AS STRING) FROM {quote_spark(view.table)} WHERE {present} "
        f"GROUP BY {', '.join(keys)} HAVING count(*) > 1 ORDER BY {', '.join(keys)} LIMIT 1"
    )


def entities_sql(view: JoinView, columns: Sequence[str], *, limit: int, known_after_us: int | None) -> str:
    """Return the SELECT of the keys of some entities, chosen by hash; none has a missing part."""
    keys = [quote_spark(name) for name in columns]
    tests = [f"{key} IS NOT NULL" for key in keys]
    if known_after_us is not None:
        tests.append(f"{quote_spark(view.known_at)} > {moment_sql(known_after_us)}")
    listed = ", ".join(keys)
    return (
        f"SELECT {listed} FROM (SELECT DISTINCT {listed} FROM {quote_spark(view.table)} WHERE {' AND '.join(tests)}) "
        f"ORDER BY xxhash64({listed}), {listed} LIMIT {limit}"
    )


def next_known_sql(view: JoinView, *, after_us: int) -> str:
    """Return the SELECT of the first moment after another at which a row becomes known, in microseconds."""
    known = quote_spark(view.known_at)
    return f"SELECT unix_micros(min({known})) FROM {quote_spark(view.table)} WHERE {known} > {moment_sql(after_us)}"


def latest_rows_sql(relation: str, key: Sequence[str], newest_first: str) -> str:
    """Return the SELECT of the newest row of each key of a relation."""
    keys = ", ".join(quote_spark(name) for name in key)
    return (
        f"SELECT * EXCEPT (__newest__) FROM (SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {newest_first}) "
        f"AS __newest__ FROM {relation}) WHERE __newest__ = 1"
    )


def _present(view: JoinView) -> str:
    return " AND ".join(f"{quote_spark(name)} IS NOT NULL" for name in (*view.entity, view.event_time, view.known_at))


def _struct(view: JoinView) -> str:
    features = "".join(f", 'f{place}', {quote_spark(name)}" for place, name in enumerate(view.features))
    return f"named_struct('e', {quote_spark(view.event_time)}, 'k', {quote_spark(view.known_at)}{features})"
