"""Compile the views of a project before a turn spends anything on them, as far as the contracts tell their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import FeatureError, UnknownNameError
from loopwright.evaluation.gate import EverySlice
from loopwright.features.compiled_view import compile_declared
from loopwright.features.view import FeatureView

if TYPE_CHECKING:
    from loopwright.features.field import Field
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.project import Loop


def check_views(loop: Loop) -> dict[str, tuple[Field, ...]]:
    """Return the features of each view that can be compiled without data.

    A view that reads columns which no contract declares is left to its first computation.

    Raises:
        FeatureError: If a view looks ahead, multiplies rows, or breaks another rule; if two features of a model have
            one name.
        UnknownNameError: If a gate judges slices of what is no feature.
    """
    known: dict[str, tuple[Field, ...]] = {}
    for view in loop.views.values():
        compiled = compile_declared(view)
        if compiled is not None:
            known[view.name] = compiled.fields
    for model in loop.models.values():
        _check_names(model, known)
    return known


def _check_names(model: ModelDeclaration, known: dict[str, tuple[Field, ...]]) -> None:
    names: dict[str, str] = {}
    complete = True
    for feature in model.features:
        if isinstance(feature, FeatureView):
            complete &= feature.name in known
            made = [(field.name, f"the view '{feature.name}'") for field in known.get(feature.name, ())]
        else:
            made = [(feature.name, f"the {'column' if hasattr(feature, 'dataset') else 'transform'} '{feature.name}'")]
        for name, owner in made:
            if name in names:
                raise FeatureError(
                    f"Two features of '{model.name}' are named '{name}': one of {names[name]}, one of {owner}.",
                    hint="Rename one.",
                )
            names[name] = owner
    for gate in model.gates:
        if complete and isinstance(gate, EverySlice) and gate.column not in names:
            raise UnknownNameError(
                "feature", gate.column, names, where=f"of '{model.name}' for every_slice to judge by"
            )
