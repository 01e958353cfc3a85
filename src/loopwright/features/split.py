"""How a training set is divided into what a model may learn from and the sealed holdout.

* ``latest("14d")``: the last 14 days before the newest example. The honest split where the world changes.
* ``fraction(0.2)``: a share of the examples by a hash of their key. An example keeps its side when rows are added.
* ``entities(0.2, by="courier_id")``: a share of the entities: none of them is seen in training.

The hash is BLAKE2b of the seed and the key, read as a fraction of 2^64, so a split is the same on every machine and in
every version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.errors import DeclarationError, FeatureError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

KEY = "__key__"
EVENT_TIME = "__event_time__"


@dataclass(frozen=True)
class Split:
    """A rule that says which examples are sealed away."""

    kind: Literal["latest", "fraction", "entities"]
    share: float = 0.0
    duration: timedelta = timedelta(0)
    by: str = ""
    seed: int = 0

    @property
    def description(self) -> str:
        """The rule in words."""
        if self.kind == "latest":
            return f"the latest {format_duration(self.duration)} of examples"
        what = "examples" if self.kind == "fraction" else f"values of '{self.by}'"
        return f"{self.share:.0%} of the {what}, by hash (seed {self.seed})"

    def to_json(self) -> dict[str, object]:
        """Return the rule as plain JSON values."""
        return {
            "kind": self.kind,
            "share": self.share,
            "duration_s": self.duration.total_seconds(),
            "by": self.by,
            "seed": self.seed,
        }

    def assign(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Return a mask, true for each example that belongs to the holdout.

        Args:
            table: The examples, with ``__key__``, ``__event_time__`` and, for ``entities``, the column it divides by.

        Raises:
            FeatureError: If one side would be empty, with the numbers; or the column to divide by is not there.
        """
        mask = self._mask(table)
        held, total = int(mask.sum()), len(mask)
        if held in {0, total}:
            side = "holdout" if held == 0 else "training part"
            raise FeatureError(
                f"The {side} would be empty: {total} examples with a known label, of which {held} fall into "
                f"{self.description}"
                f"{_span(table)}.",
                hint="Use a shorter duration or another share, or wait for more labelled examples.",
            )
        return mask

    def _mask(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        import numpy as np  # noqa: PLC0415 - keeps declarations light

        if table.num_rows == 0:
            return np.zeros(0, dtype=np.bool_)
        if self.kind == "latest":
            micros = _micros(table)
            cut = int(micros.max()) - int(self.duration / timedelta(microseconds=1))
            return np.asarray(micros > cut, dtype=np.bool_)
        name = KEY if self.kind == "fraction" else self.by
        if name not in table.column_names:
            raise FeatureError(
                f"The holdout divides by the column '{name}', which the examples do not have.",
                hint="Name a column of the label's dataset.",
            )
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        held = np.array(
            [_point(str(value), self.seed) < self.share for value in encoded.dictionary.to_pylist()], dtype=np.bool_
        )
        indices: npt.NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False)
        return held[indices]


def latest(duration: str | float | timedelta) -> Split:
    """Seal the examples of the last ``duration`` before the newest example.

    >>> latest("14d").description
    'the latest 14d of examples'
    """
    try:
        parsed = parse_duration(duration)
    except DeclarationError as error:
        raise FeatureError(f"The holdout latest({duration!r}): {error.message}", hint=error.hint) from error
    if parsed <= timedelta(0):
        raise FeatureError(
            f"The holdout latest({duration!r}) would be empty.", hint="Give a positive duration, such as '14d'."
        )
    return Split("latest", duration=parsed)


def fraction(share: float, *, seed: int = 0) -> Split:
    """Seal a share of the examples, chosen by a hash of their key.

    >>> fraction(0.2).description
    '20% of the examples, by hash (seed 0)'
    """
    return Split("fraction", share=_checked(share, "fraction"), seed=seed)


def entities(share: float, *, by: str, seed: int = 0) -> Split:
    """Seal a share of the entities: every example of a sealed entity is in the holdout."""
    return Split("entities", share=_checked(share, "entities"), by=by, seed=seed)


def _checked(share: float, kind: str) -> float:
    if not 0 < share < 1:
        raise FeatureError(
            f"The holdout {kind}({share}) leaves one side empty.", hint="Give a share between 0 and 1, such as 0.2."
        )
    return float(share)


def _point(key: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the key and the seed only."""
    digest = hashlib.blake2b(f"{seed}\x00{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _micros(table: pa.Table) -> npt.NDArray[np.int64]:
    import pyarrow as pa  # noqa: PLC0415 - keeps declarations light

    times: npt.NDArray[np.int64] = table.column(EVENT_TIME).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return times


def _span(table: pa.Table) -> str:
    if table.num_rows == 0:
        return ""
    import pyarrow.compute as pc  # noqa: PLC0415 - keeps declarations light

    ends = pc.min_max(table.column(EVENT_TIME)).as_py()
    return f" (events from {ends['min']:%Y-%m-%d %H:%M} to {ends['max']:%Y-%m-%d %H:%M})"
