"""A training set's definition, kept with the model that was made from it.

Rows that came later can then be turned into that model's features, whatever the project's code says by now: so a
champion is asked about the same rows as its challenger, also when a view or a transform has changed since.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cloudpickle

from loopwright.core.errors import FeatureError
from loopwright.core.hashing import digest_bytes
from loopwright.features.by_value import dump_by_value
from loopwright.features.training_spec import TrainingSetSpec

if TYPE_CHECKING:
    from loopwright.features.label import Label
    from loopwright.features.split import Split


def definition_to_bytes(spec: TrainingSetSpec) -> bytes:
    """Return a definition with its functions by value, and without any data."""
    return dump_by_value(spec, [view.function for view in spec.views] + [call.function for call in spec.transforms])


def definition_from_bytes(data: bytes) -> TrainingSetSpec:
    """Load what ``definition_to_bytes`` wrote. It runs code: the caller vouches for the bytes.

    Raises:
        FeatureError: If the bytes are no definition.
    """
    loaded = cloudpickle.loads(data)
    if not isinstance(loaded, TrainingSetSpec):
        raise FeatureError(f"The bytes {digest_bytes(data)[:12]} hold a {type(loaded).__name__} and no definition.")
    return loaded


def asked_of(spec: TrainingSetSpec, *, name: str, label: Label, holdout: Split) -> TrainingSetSpec:
    """Return the definition with the examples of another: its features, for that label and that holdout.

    Raises:
        FeatureError: If the label's dataset is another one, so that the features cannot be read from its rows.
    """
    if spec.label.dataset.name != label.dataset.name:
        raise FeatureError(
            f"Its features are columns of '{spec.label.dataset.name}', and the label is now one of "
            f"'{label.dataset.name}'."
        )
    return replace(spec, name=name, label=label, holdout=holdout)
