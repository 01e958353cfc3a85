"""Finds features that tell the target: columns that a model may learn from and will not have when it has to predict.

What is looked for, on a bounded sample, and from which threshold on it is reported:

============  =======================================================================================================
determines    One feature alone tells the target almost without error: ``score`` at least 0.99 for a numeric target,
              0.95 for classes. It is measured on rows that the predictor has not seen, so that identifiers, which say
              everything about rows that were seen, score nothing.
identity      A combination of two or three numeric features *is* the target: the least-squares residual is below one
              part in a thousand of the target's deviation (``score``: R² at least 1 - 1e-6), as in
              ``casual + registered = cnt``.
late          The feature is known only after the event, or after the label: a declared delay, or a time that mostly
              lies after the event time.
identifier    The feature names the row: every value is another one. It does not tell the target of new rows, and a
              model can learn the rows by heart from it.
shifted       The feature is the target of a neighbouring *later* row of the same entity, up to three rows on.
============  =======================================================================================================

The score of ``determines`` is the share of the target that is explained: for numbers the R² of the mean target in bins
of equal count, for classes Theil's U, the mutual information over the target's entropy (H. Theil, On the estimation of
relationships involving qualitative variables, American Journal of Sociology 76, 1970). Honest features seldom come
near: a value that is known an hour earlier explains 0.9 of most hourly series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import UnknownNameError
from loopwright.data.quality.leakage_scores import (
    codes_of,
    explained_classes,
    explained_number,
    floats_of,
    linear_identities,
    shifted_copy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from numpy.typing import NDArray

LeakKind = Literal["determines", "identity", "late", "identifier", "shifted"]
SAMPLE_ROWS = 20_000
FEWEST_ROWS = 50
NUMBER_SHARE = 0.99
CLASS_SHARE = 0.95
LATE_SHARE = 0.5
MOST_CLASSES = 20
_IDENTIFIER = frozenset({"id", "key", "uuid", "guid", "index", "idx", "row", "rowid", "number", "no", "nr", "instant"})


@dataclass(frozen=True)
class Leak:
    """Features that tell the target, and how that was seen.

    Attributes:
        features: One feature, or the parts of an identity.
        kind: What was found; the module says what each means.
        score: Between 0 and 1, the strength by the measure of the kind.
        reason: A sentence for people.
    """

    features: tuple[str, ...]
    kind: LeakKind
    score: float
    reason: str


def find_leaks(
    table: pa.Table,
    target: str,
    features: Sequence[str] | None = None,
    *,
    event_time: str | None = None,
    entity: Sequence[str] = (),
    delays: Mapping[str, timedelta] | None = None,
    label_delay: timedelta | None = None,
    seed: int = 0,
) -> tuple[Leak, ...]:
    """Return the features that tell the target, the strongest first.

    The cost is bounded by the sample of :data:`SAMPLE_ROWS` rows and the number of columns: well under a second for a
    million rows of twenty columns.

    Args:
        table: Rows with the target and the features.
        target: The label's column.
        features: The columns to look at; all others by default.
        event_time: When the row's event happened; with it, times and shifted copies are looked at. It is no feature.
        entity: The columns that name whose rows follow each other.
        delays: How long after the event a feature is known, where that is declared.
        label_delay: How long after the event the label is known.
        seed: Of the sample.

    Raises:
        UnknownNameError: If the table lacks a column that is named.

    >>> table = pa.table({"a": [37 * n % 101 for n in range(200)], "b": [59 * n % 97 for n in range(200)]})
    >>> table = table.append_column("total", pc.add(table["a"], table["b"]))
    >>> [leak.features for leak in find_leaks(table, "total", ["a", "b"])]
    [('a', 'b')]
    """
    for name in (target, *(features or ()), *entity, *([event_time] if event_time else [])):
        if name not in table.column_names:
            raise UnknownNameError("column", name, table.column_names)
    apart = {target, *entity, *([event_time] if event_time else [])}
    chosen = [name for name in (features or table.column_names) if name not in apart and not name.startswith("_")]
    known = table.filter(pc.is_valid(table[target])) if table[target].null_count else table
    leaks = [
        Leak((name,), "late", 1.0, f"'{name}' is known {delay} after the event, and the label {label_delay} after it.")
        for name, delay in (delays or {}).items()
        if name in chosen and label_delay is not None and delay >= label_delay
    ]
    if known.num_rows < FEWEST_ROWS or not chosen:
        return tuple(leaks)
    sample = _sampled(known, seed)
    goal, is_number = _goal(sample[target])
    numbers: dict[str, NDArray[np.float64]] = {}
    for name in chosen:
        column = sample[name]
        values = floats_of(column)
        if values is not None and not pa.types.is_temporal(column.type):
            numbers[name] = values
        found = (
            _late(sample, name, event_time)
            or _identifier(known, column, name)
            or _determines(column, values, name, goal, target, is_number=is_number)
        )
        if found is not None:
            leaks.append(found)
    told = {name for leak in leaks for name in leak.features if leak.kind in {"determines", "identifier"}}
    whole = floats_of(sample[target]) if not pa.types.is_temporal(sample[target].type) else None
    if whole is not None:
        left = {name: values for name, values in numbers.items() if name not in told}
        for names, text, share in linear_identities(left, whole):
            leaks.append(Leak(names, "identity", share, f"{text} = {target}, up to rounding."))
        if event_time is not None:
            leaks += _shifted(known, target, [name for name in numbers if name not in told], event_time, entity)
    order = {"determines": 0, "identity": 1, "shifted": 2, "late": 3, "identifier": 4}
    return tuple(sorted(leaks, key=lambda leak: (order[leak.kind], -leak.score, leak.features)))


def _sampled(table: pa.Table, seed: int) -> pa.Table:
    if table.num_rows <= SAMPLE_ROWS:
        return table
    rows = np.random.default_rng(seed).choice(table.num_rows, SAMPLE_ROWS, replace=False)
    return table.take(pa.array(np.sort(rows)))


def _goal(column: pa.ChunkedArray) -> tuple[NDArray[np.float64] | NDArray[np.int64], bool]:
    """Return the target as numbers, or as codes of classes where its values are few or no numbers."""
    values = floats_of(column)
    distinct = len(pc.unique(column))
    if values is not None and distinct > MOST_CLASSES:
        return values, True
    return codes_of(column), False


def _determines(
    column: pa.ChunkedArray,
    values: NDArray[np.float64] | None,
    name: str,
    goal: NDArray[np.float64] | NDArray[np.int64],
    target: str,
    *,
    is_number: bool,
) -> Leak | None:
    bins = codes_of(column) if values is None else values
    if is_number:
        share = explained_number(bins, goal.astype(np.float64), by_value=values is None)
        limit, word = NUMBER_SHARE, "of its variance"
    else:
        share = explained_classes(bins, goal.astype(np.int64), by_value=values is None)
        limit, word = CLASS_SHARE, "of its information"
    if share < limit:
        return None
    return Leak((name,), "determines", share, f"'{name}' alone tells '{target}': {share:.1%} {word}, on unseen rows.")


def _late(table: pa.Table, name: str, event_time: str | None) -> Leak | None:
    if event_time is None or not (pa.types.is_timestamp(table[name].type) or pa.types.is_date(table[name].type)):
        return None
    own = table[name].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    event = table[event_time]
    if not (pa.types.is_timestamp(event.type) or pa.types.is_date(event.type)):
        return None
    later = pc.greater(own, event.cast(pa.timestamp("us"), safe=False).cast(pa.int64()))
    filled = pc.count(later).as_py()
    share = (pc.sum(later).as_py() or 0) / filled if filled else 0.0
    if share < LATE_SHARE:
        return None
    return Leak(
        (name,),
        "late",
        share,
        f"'{name}' lies after '{event_time}' in {share:.0%} of the rows: nobody knows it by then.",
    )


def _identifier(table: pa.Table, sample: pa.ChunkedArray, name: str) -> Leak | None:
    kind = sample.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not text and not pa.types.is_integer(kind):
        return None
    filled = len(sample) - sample.null_count
    if filled < FEWEST_ROWS or len(pc.unique(sample.drop_null())) < filled:
        return None
    if text:
        longest = pc.max(pc.utf8_length(sample)).as_py()
        if longest > 64:  # free text
            return None
    else:
        bounds = pc.min_max(table[name])
        is_counter = bounds["max"].as_py() - bounds["min"].as_py() < 1.5 * table.num_rows
        if not is_counter and not _IDENTIFIER & set(name.lower().replace("-", "_").split("_")):
            return None
    return Leak((name,), "identifier", 1.0, f"'{name}' names the row: no two rows share a value. Leave it out.")


def _shifted(table: pa.Table, target: str, names: Sequence[str], event_time: str, entity: Sequence[str]) -> list[Leak]:
    """Look at rows that follow each other, so at a stretch of them and no sample."""
    if not names:
        return []
    wanted = list(dict.fromkeys([*entity, event_time, target, *names]))
    stretch = table.select(wanted)
    if entity and stretch.num_rows > SAMPLE_ROWS:
        first = pc.unique(stretch[entity[0]])[:50]
        stretch = stretch.filter(pc.is_in(stretch[entity[0]], value_set=first))
    order = pc.sort_indices(stretch, sort_keys=[(name, "ascending") for name in (*entity, event_time)])
    stretch = stretch.take(order[:SAMPLE_ROWS])
    goal = floats_of(stretch[target])
    same = np.zeros(stretch.num_rows, dtype=np.int64)
    for name in entity:
        codes = codes_of(stretch[name])
        same = same * (int(codes.max(initial=0)) + 2) + codes
    leaks = []
    for name in names:
        values = floats_of(stretch[name])
        if goal is None or values is None:
            continue
        found = shifted_copy(values, goal, same)
        if found is not None:
            ahead, share = found
            rows = "row" if ahead == 1 else "rows"
            leaks.append(Leak((name,), "shifted", share, f"'{name}' holds '{target}' of {ahead} {rows} later."))
    return leaks
