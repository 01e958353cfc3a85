"""A profile: what the rows of a table look like, column by column, as one value that goes to JSON and back.

It holds counts and never a row, apart from the most frequent values. The counts of :attr:`ColumnProfile.bins` are those
that :mod:`loopwright.core.statistics.drift` compares; on the same bins they add up, so that the counts of parts make
those of the whole. :mod:`loopwright.data.quality.profile_run` measures a profile.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from loopwright.core.errors import SourceError, UnknownNameError
from loopwright.core.statistics.binning import Bins, CategoryBins, bins_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "loopwright.profile/1"
Kind = Literal["number", "bool", "text", "time", "payload", "other"]
Measure = Literal["pearson", "spearman", "cramers_v"]


@dataclass(frozen=True)
class Numbers:
    """What a column of numbers holds; NaN counts as missing, and infinities stay out of the moments.

    Attributes:
        quantiles: (share, value), by share; estimated in large tables (:attr:`Profile.is_estimated`).
    """

    minimum: float
    maximum: float
    mean: float
    std: float | None
    zeros: int
    negatives: int
    infinite: int
    quantiles: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Texts:
    """How long texts are, in characters, and what they could be read as."""

    shortest: int
    longest: int
    mean_length: float
    blank: int
    numeric: int
    temporal: int


@dataclass(frozen=True)
class Histogram:
    """Counts on bins of equal width, for the eye. ``edges`` has one more than ``counts``; times are epoch seconds."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Timeline:
    """A column in each bucket of :attr:`Profile.time_edges`.

    Attributes:
        nulls: Missing values per bucket.
        means: Mean per bucket (numbers; shares of true for truth values), None in an empty bucket.
        constant: Whether all values of the bucket are the same one.
        psi: Bias-corrected population stability index of the bucket against all other buckets; None without bins.
    """

    nulls: tuple[int, ...]
    means: tuple[float | None, ...]
    constant: tuple[bool, ...]
    psi: tuple[float | None, ...]


@dataclass(frozen=True)
class ColumnProfile:
    """One column.

    Attributes:
        type: As the table has it, in DuckDB's words.
        distinct: How many different values, estimated (HyperLogLog, a few percent) unless ``is_distinct_exact``.
        top: The most frequent values and their counts, the most frequent first; of texts and truth values.
        bins: Frozen bins, of equal count for numbers and times (epoch seconds), by value for texts; None where a
            column has no distribution to speak of.
        counts: Rows in each of ``bins.cells``.
        order_breaks: Of a column that follows the time column: how often it falls back from one row to the next.
    """

    name: str
    type: str
    kind: Kind
    rows: int
    nulls: int
    distinct: int
    is_distinct_exact: bool
    minimum: str | None = None
    maximum: str | None = None
    numbers: Numbers | None = None
    texts: Texts | None = None
    top: tuple[tuple[str, int], ...] = ()
    bins: Bins | None = None
    counts: tuple[int, ...] = ()
    histogram: Histogram | None = None
    timeline: Timeline | None = None
    order_breaks: int | None = None

    @property
    def filled(self) -> int:
        """How many rows have a value."""
        return self.rows - self.nulls

    @property
    def is_constant(self) -> bool:
        """Whether every value that is there is the same one."""
        return self.filled > 0 and self.minimum is not None and self.minimum == self.maximum


@dataclass(frozen=True)
class Pair:
    """How strongly two columns go together, on a sample of rows."""

    first: str
    second: str
    measure: Measure
    value: float


@dataclass(frozen=True)
class Profile:
    """All columns of a table.

    Attributes:
        name: Of what: a snapshot such as ``orders@3``, or a file.
        is_estimated: Whether quantiles and distinct values are estimates.
        key: The columns that should identify a row.
        duplicate_keys: Rows whose key an earlier row has; None without a key.
        duplicate_rows: Rows equal to an earlier one; None in tables too large to compare all.
        time_column: The column by which :attr:`time_edges` cut the rows.
        time_edges: Epoch seconds, one more than there are buckets.
        pairs: Associations, the strongest first.
        sampled_rows: Rows behind ``pairs``.
    """

    name: str
    rows: int
    columns: tuple[ColumnProfile, ...]
    is_estimated: bool = False
    key: tuple[str, ...] = ()
    duplicate_keys: int | None = None
    duplicate_rows: int | None = None
    time_column: str | None = None
    time_edges: tuple[float, ...] = ()
    rows_by_time: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()
    sampled_rows: int = 0

    def column(self, name: str) -> ColumnProfile:
        """Return a column.

        Raises:
            UnknownNameError: If there is none of this name.
        """
        for one in self.columns:
            if one.name == name:
                return one
        raise UnknownNameError("column", name, [one.name for one in self.columns], where=f"in the profile {self.name}")

    def to_json(self) -> dict[str, object]:
        """Return the profile as plain JSON values; :meth:`from_json` gives it back."""
        columns = [asdict(one) | {"bins": None if one.bins is None else one.bins.to_json()} for one in self.columns]
        return {"schema": SCHEMA} | asdict(self) | {"columns": columns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | str) -> Profile:
        """Read a profile that :meth:`to_json` wrote, from its values or their text.

        Raises:
            SourceError: If it is none, or of a later schema.
        """
        try:
            values: dict[str, Any] = dict(json.loads(data) if isinstance(data, str) else data)
            if values.get("schema") != SCHEMA:
                raise SourceError(
                    f"A profile of schema '{SCHEMA}' was expected, got {values.get('schema')!r}.",
                    hint="Make it anew with `loopwright data profile … --json`.",
                )
            known = {field.name for field in fields(cls)}
            chosen = {name: _frozen(value) for name, value in values.items() if name in known}
            chosen["columns"] = tuple(_column(one) for one in values["columns"])
            chosen["pairs"] = tuple(Pair(**one) for one in values["pairs"])
            return cls(**chosen)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f"This is no profile: {error}.", hint="Make it anew with `loopwright data profile … --json`."
            ) from error


def _column(values: Mapping[str, Any]) -> ColumnProfile:
    chosen = {name: _frozen(value) for name, value in values.items()}
    parts = (("numbers", Numbers), ("texts", Texts), ("histogram", Histogram), ("timeline", Timeline))
    for name, made in parts:
        if values.get(name) is not None:
            chosen[name] = made(**{key: _frozen(value) for key, value in values[name].items()})
    chosen["bins"] = None if values.get("bins") is None else bins_from_json(values["bins"])
    return ColumnProfile(**chosen)


def _frozen(value: Any) -> Any:  # noqa: ANN401 - JSON
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


def is_category(column: ColumnProfile) -> bool:
    """Tell whether a column's bins are values and no ranges."""
    return isinstance(column.bins, CategoryBins)
