"""A profile as one HTML page: self-contained, readable in light and dark, without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.charts import dark_css, draw
from loopwright.core.pages import fill
from loopwright.data.quality.profile_charts import (
    distribution,
    matrix,
    missing_over_time,
    moment,
    over_time,
    rows_over_time,
    shift_over_time,
)
from loopwright.data.quality.profile_findings import findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.quality.leakage import Leak
    from loopwright.data.quality.profile import ColumnProfile, Profile
    from loopwright.data.quality.profile_charts import Spec
    from loopwright.data.quality.profile_drift import ProfileChange

_TEMPLATE = "profile.html.j2"
_PACKAGE = "loopwright.data.quality"
_MATRICES = (
    ("spearman", "Rank correlation (Spearman)"),
    ("pearson", "Linear correlation (Pearson)"),
    ("cramers_v", "Association of categories (Cramér's V, bias-corrected)"),
)


def page(
    profile: Profile,
    *,
    target: str | None = None,
    leaks: Sequence[Leak] = (),
    change: ProfileChange | None = None,
) -> str:
    """Return the page.

    Args:
        profile: What to show.
        target: The label, where leakage was looked for.
        leaks: What was found of it.
        change: What differs from an earlier profile.
    """
    order = [one.name for one in profile.columns]
    by_column: dict[str, list[str]] = {}
    seen = findings(profile)
    for one in seen:
        by_column.setdefault(one.column, []).append(one.text)
    matrices = [(title, _svg(matrix(profile.pairs, name, order), name)) for name, title in _MATRICES]
    values = {
        "profile": profile,
        "dark_css": dark_css(),
        "findings": seen,
        "target": target,
        "leaks": leaks,
        "change": change,
        "span": (moment(profile.time_edges[0]), moment(profile.time_edges[-1])) if profile.time_edges else None,
        "rows_over_time": _svg(rows_over_time(profile), "rows"),
        "missing_over_time": _svg(missing_over_time(profile), "missing"),
        "shift_over_time": _svg(shift_over_time(profile), "shift"),
        "matrices": [(title, svg) for title, svg in matrices if svg],
        "columns": [_card(one, profile, number, by_column) for number, one in enumerate(profile.columns)],
    }
    return fill(_PACKAGE, _TEMPLATE, values)


def _card(one: ColumnProfile, profile: Profile, number: int, by_column: dict[str, list[str]]) -> dict[str, object]:
    return {
        "number": number,
        "column": one,
        "findings": by_column.get(one.name, []),
        "missing": one.nulls / one.rows if one.rows else 0.0,
        "distribution": _svg(distribution(one), f"d{number}"),
        "over_time": _svg(over_time(one, profile), f"t{number}"),
        "facts": facts(one),
    }


def facts(one: ColumnProfile) -> list[tuple[str, str]]:
    """Return what there is to say about a column, as pairs of a word and a text."""
    shown: list[tuple[str, str]] = []
    about = "" if one.is_distinct_exact else "about "
    shown.append(("distinct", f"{about}{one.distinct:,}"))
    if one.numbers is not None:
        numbers = one.numbers
        shares = dict(numbers.quantiles)
        shown += [
            ("mean", f"{numbers.mean:.6g}"),
            ("std", "-" if numbers.std is None else f"{numbers.std:.6g}"),
            ("min", f"{numbers.minimum:.6g}"),
            ("5 %", f"{shares[0.05]:.6g}"),
            ("median", f"{shares[0.5]:.6g}"),
            ("95 %", f"{shares[0.95]:.6g}"),
            ("max", f"{numbers.maximum:.6g}"),
        ]
        shown += [
            (word, f"{count:,}")
            for word, count in (
                ("zeros", numbers.zeros),
                ("negative", numbers.negatives),
                ("infinite", numbers.infinite),
            )
            if count
        ]
    elif one.minimum is not None and one.kind == "time":
        shown += [("first", one.minimum), ("last", one.maximum or "")]
    if one.texts is not None:
        texts = one.texts
        length = f"{texts.shortest} to {texts.longest}, mean {texts.mean_length:.1f}"
        shown.append(("characters", length))
        shown += [(word, f"{n:,}") for word, n in (("blank", texts.blank), ("read as numbers", texts.numeric)) if n]
    return shown


def _svg(spec: Spec | None, name: str) -> str:
    return "" if spec is None else draw(spec, name=name)
