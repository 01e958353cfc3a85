"""How far the columns of a relation are from a reference: a snapshot, or a profile that was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import ContractError
from loopwright.core.statistics.binning import NumericBins
from loopwright.core.statistics.distance import js_distance, psi_corrected
from loopwright.core.storage.duck import quote_name
from loopwright.data.contract.contract import require_known
from loopwright.data.quality.profile import Profile
from loopwright.data.quality.profile_run import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import duckdb

    from loopwright.data.contract.expected import Distribution
    from loopwright.data.quality.profile import ColumnProfile


def distances(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    checks: Sequence[Distribution],
    types: Mapping[str, str],
    reference: Callable[[duckdb.DuckDBPyConnection, str, str | int], str | None],
) -> dict[Distribution, float]:
    """Return the distance that each check asks for; each reference is counted once, and so are the rows.

    Args:
        con: Where the rows are.
        relation: SQL that may follow FROM.
        checks: What is asked.
        types: The relation's columns.
        reference: Gives the rows of a snapshot a name in a connection and returns "", or returns a profile's text, or
            None where there is no reference yet, so that nothing differs from it.

    Raises:
        ContractError: If a column is unknown, or has no distribution to compare.
    """
    found: dict[Distribution, float] = {}
    for like in dict.fromkeys(check.like for check in checks):
        asked = [check for check in checks if check.like == like]
        names = list(dict.fromkeys(check.column for check in asked))
        require_known(names, types, asked[0].label)
        then = _reference(con, reference, like, names)
        if then is None:
            continue
        columns = ", ".join(quote_name(name) for name in names)
        here = measure(con, f"(SELECT {columns} FROM {relation})", "these rows", like=then, with_pairs=False)
        found |= {check: _distance(check, then.column(check.column), here.column(check.column)) for check in asked}
    return {check: found.get(check, 0.0) for check in checks}


def _reference(
    con: duckdb.DuckDBPyConnection,
    reference: Callable[[duckdb.DuckDBPyConnection, str, str | int], str | None],
    like: str | int,
    names: Sequence[str],
) -> Profile | None:
    """Return the reference's profile; None where it is the snapshot before the first."""
    view = f"reference {like}"
    text = reference(con, view, like)
    if text is None:
        return None
    if text:
        return Profile.from_json(text)
    there = [str(row[0]) for row in con.execute(f"DESCRIBE SELECT * FROM {quote_name(view)}").fetchall()]
    require_known(names, there, f"distribution(like={like!r})")
    columns = ", ".join(quote_name(name) for name in names)
    return measure(con, f"(SELECT {columns} FROM {quote_name(view)})", str(like), with_pairs=False)


def _distance(check: Distribution, reference: ColumnProfile, here: ColumnProfile) -> float:
    if reference.bins is None or here.bins is None or not sum(reference.counts) or not sum(here.counts):
        raise ContractError(
            f"{check.label} cannot be computed: the reference {check.like!r} has no distribution of '{check.column}'."
        )
    then, now = np.asarray(reference.counts, float), np.asarray(here.counts, float)
    if check.measure == "psi":
        return float(psi_corrected(then, now))
    if check.measure == "js":
        return float(js_distance(then, now))
    if not isinstance(reference.bins, NumericBins):
        raise ContractError(f"{check.label} needs an order, and '{check.column}' holds names.", hint="Use psi or js.")
    return float(np.max(np.abs(np.cumsum(then) / then.sum() - np.cumsum(now) / now.sum())))
