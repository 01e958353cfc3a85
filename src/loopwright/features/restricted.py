"""Which features carry what only some may see: those made of restricted columns, under whatever name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from loopwright.core.errors import FeatureError
from loopwright.data.dataset import ColumnRef
from loopwright.features.compiled_view import compile_view
from loopwright.features.view import FeatureView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopwright.features.field import Field
    from loopwright.features.on_demand import OnDemand


def restricted_features(
    sources: Iterable[ColumnRef | FeatureView | OnDemand],
    fields: Iterable[Field],
    schemas: Mapping[str, ibis.Schema],
) -> tuple[str, ...]:
    """Return the names of the features that views and transforms make of restricted columns.

    A view counts as made of them unless it can be compiled without them, and then all its features do.

    Args:
        sources: What a model declares as its features.
        fields: The features themselves.
        schemas: By dataset, its columns; a view of a dataset that is not there counts.
    """
    made = {
        ("view" if isinstance(source, FeatureView) else "transform", source.name)
        for source in sources
        if not isinstance(source, ColumnRef) and _is_restricted(source, schemas)
    }
    return tuple(field.name for field in fields if (field.origin, field.source) in made)


def reads_restricted(view: FeatureView, schemas: Mapping[str, ibis.Schema]) -> bool:
    """Tell whether a view cannot be computed from what all may see."""
    if not any(dataset.contract.restricted() for dataset in view.datasets):
        return False
    open_ones = {}
    for dataset in view.datasets:
        if dataset.name not in schemas:
            return True
        hidden = dataset.contract.restricted()
        open_ones[dataset.name] = ibis.schema(
            {name: kind for name, kind in schemas[dataset.name].items() if name not in hidden}
        )
    try:
        compile_view(view, open_ones)
    except FeatureError:
        return True
    return False


def _is_restricted(source: FeatureView | OnDemand, schemas: Mapping[str, ibis.Schema]) -> bool:
    if isinstance(source, FeatureView):
        return reads_restricted(source, schemas)
    return any(ref.name in ref.dataset.contract.restricted() for ref in source.inputs)
