"""How one profile differs from another: columns that came and went, and distributions that moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.statistics.drift import DEFAULT_ALPHA, DEFAULT_GATE, two_stage

if TYPE_CHECKING:
    from loopwright.core.statistics.drift import FeatureDrift
    from loopwright.data.quality.profile import ColumnProfile, Profile


@dataclass(frozen=True)
class ColumnChange:
    """One column in two profiles; ``drift`` is None where the two share no bins."""

    name: str
    missing_before: float
    missing_now: float
    mean_before: float | None
    mean_now: float | None
    drift: FeatureDrift | None


@dataclass(frozen=True)
class ProfileChange:
    """What changed from one profile to another.

    Attributes:
        retyped: Columns of another type, with the two types.
        columns: The columns that both have, those that moved most first.
    """

    before: str
    now: str
    rows_before: int
    rows_now: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: dict[str, tuple[str, str]]
    columns: tuple[ColumnChange, ...]


def compare(
    before: Profile, now: Profile, *, alpha: float = DEFAULT_ALPHA, gate: float = DEFAULT_GATE
) -> ProfileChange:
    """Compare two profiles, of which the later was measured on the bins of the earlier.

    A column has drifted where its counts differ significantly over all columns (Holm-corrected, level ``alpha``) and by
    a bias-corrected population stability index of at least ``gate``; see :mod:`loopwright.core.statistics.drift`. The
    test takes rows as independent of each other: rows that follow each other in time drift by it more easily.
    """
    old = {one.name: one for one in before.columns}
    new = {one.name: one for one in now.columns}
    shared = [name for name in old if name in new]
    counted = [name for name in shared if old[name].bins is not None and old[name].bins == new[name].bins]
    found = two_stage(
        [old[name].counts for name in counted], [new[name].counts for name in counted], alpha=alpha, gate=gate
    )
    drifts = dict(zip(counted, found, strict=True))
    columns = [
        ColumnChange(
            name,
            _share(old[name]),
            _share(new[name]),
            _mean(old[name]),
            _mean(new[name]),
            drifts.get(name),
        )
        for name in shared
    ]
    columns.sort(key=lambda one: -(one.drift.psi_corrected if one.drift else -1.0))
    return ProfileChange(
        before=before.name,
        now=now.name,
        rows_before=before.rows,
        rows_now=now.rows,
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        retyped={name: (old[name].type, new[name].type) for name in shared if old[name].type != new[name].type},
        columns=tuple(columns),
    )


def _share(one: ColumnProfile) -> float:
    return one.nulls / one.rows if one.rows else 0.0


def _mean(one: ColumnProfile) -> float | None:
    return None if one.numbers is None else one.numbers.mean
