"""What a training set is to be made of: label, features, holdout. Light: it imports no engine.

What can be checked without data is checked when it is declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.errors import FeatureError
from loopwright.core.hashing import digest_json
from loopwright.data.dataset import ColumnRef, Columns
from loopwright.features.on_demand import OnDemand
from loopwright.features.view import FeatureView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.features.label import Label
    from loopwright.features.split import Split

Feature = ColumnRef | FeatureView | OnDemand


@dataclass(frozen=True, eq=False)
class TrainingSetSpec:
    """What a training set is made of.

    Attributes:
        name: The model it is for.
        label: The target; the rows of its dataset are the examples.
        features: Columns of the label's dataset, feature views and transforms, in the order in which the model gets
            them.
        holdout: Which examples are sealed.
        key: The column that names an example; by default the dataset's key.
        event_time: The examples' moment; by default the dataset's event time.
        other_labels: Labels of other models, whose columns are known late here too.
    """

    name: str
    label: Label
    features: tuple[Feature, ...]
    holdout: Split
    key: str | None = None
    event_time: str | None = None
    other_labels: tuple[Label, ...] = ()

    @property
    def late_labels(self) -> tuple[Label, ...]:
        """All labels whose columns views know only when they have arrived."""
        return (self.label, *self.other_labels)

    @property
    def columns(self) -> tuple[ColumnRef, ...]:
        """The features that are plain columns."""
        return tuple(feature for feature in self.features if isinstance(feature, ColumnRef))

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The features that are views."""
        return tuple(feature for feature in self.features if isinstance(feature, FeatureView))

    @property
    def transforms(self) -> tuple[OnDemand, ...]:
        """The features that are transforms."""
        return tuple(feature for feature in self.features if isinstance(feature, OnDemand))

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of all datasets it reads, the label's first."""
        sources = [dataset.name for view in self.views for dataset in view.datasets]
        return tuple(dict.fromkeys([self.label.dataset.name, *sources]))

    @property
    def digest(self) -> str:
        """A digest of the definition: it changes when other training sets would be made of the same data."""
        dataset = self.label.dataset
        read = {name for view in self.views for name in (each.name for each in view.datasets)}
        others = {
            (other.dataset.name, other.name, other.arrives_after.total_seconds())
            for other in self.late_labels[1:]
            if other.dataset.name in read and (other.dataset.name, other.name) != (dataset.name, self.label.name)
        }
        return digest_json(
            {
                **({"other_labels": sorted(others)} if others else {}),
                "label": [dataset.name, self.label.name, self.label.arrives_after.total_seconds()],
                "times": [dataset.event_time, dataset.arrival_time, self.event_time],
                "key": [list(dataset.key), self.key],
                "holdout": self.holdout.to_json(),
                "features": [_describe(feature) for feature in self.features],
            }
        )


def training_set_spec(
    name: str,
    *,
    label: Label,
    features: Iterable[Feature | Columns],
    holdout: Split,
    key: str | None = None,
    event_time: str | None = None,
    other_labels: Iterable[Label] = (),
) -> TrainingSetSpec:
    """Declare a training set, checking what can be checked without data.

    Raises:
        FeatureError: If there is no feature, one is of another kind, the label is among the features or the inputs of a
            transform, a column is of another dataset than the label's, or two features have one name.
    """
    flat: list[Feature] = []
    for feature in features:
        if isinstance(feature, Columns):
            flat.extend(feature.refs)
        elif isinstance(feature, ColumnRef | FeatureView | OnDemand):
            flat.append(feature)
        else:
            raise FeatureError(
                f"A feature of '{name}' is {type(feature).__name__} {feature!r}.",
                hint="Features are columns (orders['city']), feature views and transforms.",
            )
    if not flat:
        raise FeatureError(f"The model '{name}' has no features.", hint="Name at least one column, view or transform.")
    dataset = label.dataset.name
    seen: set[str] = set()
    for feature in flat:
        inputs = (
            (feature,) if isinstance(feature, ColumnRef) else feature.inputs if isinstance(feature, OnDemand) else ()
        )
        for ref in inputs:
            if ref.dataset.name == dataset and ref.name == label.name:
                where = "a feature" if isinstance(feature, ColumnRef) else f"an input of the transform '{feature.name}'"
                raise FeatureError(
                    f"The label '{dataset}.{label.name}' of '{name}' is also {where}: it leaks.",
                    hint="Remove it; past values of the target belong in a feature view, which knows when each was "
                    "known.",
                )
            if ref.dataset.name != dataset:
                raise FeatureError(
                    f"The column '{ref}' of '{name}' is of another dataset than the label ('{dataset}').",
                    hint="Bring it over with a feature view (@loop.features), keyed by an entity.",
                )
        if not isinstance(feature, FeatureView):
            _claim(feature.name, seen, name)
    return TrainingSetSpec(name, label, tuple(flat), holdout, key, event_time, tuple(other_labels))


def _claim(name: str, seen: set[str], model: str) -> None:
    if name in seen:
        raise FeatureError(f"Two features of '{model}' are named '{name}'.", hint="Rename one.")
    if name.startswith("__"):
        raise FeatureError(
            f"The feature '{name}' of '{model}' has a reserved name.", hint="Names with two underscores are taken."
        )
    seen.add(name)


def _describe(feature: Feature) -> list[object]:
    kind: Literal["column", "view", "transform"]
    if isinstance(feature, ColumnRef):
        kind, declared = "column", feature.declared
        return [kind, feature.name, None if declared is None else declared.describe()]
    kind = "view" if isinstance(feature, FeatureView) else "transform"
    on = [list(feature.on)] if isinstance(feature, FeatureView) and feature.on else []
    return [kind, feature.version, *on]
