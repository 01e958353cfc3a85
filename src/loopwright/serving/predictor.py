"""One predictor behind every door: rows in, answers out, for one loaded version.

The predictor knows no protocol, no routing and no log. It assembles the request's rows into what the model got in
training (with online features where the model has them), computes one batch per call, and turns the outputs into
plain values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import InvalidRequestError, LoopwrightError, ModelFailedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.online import OnlineStore
    from loopwright.features.assembly import FeatureAssembly


class ServedVersion(Protocol):
    """What serving needs to know of a model version."""

    @property
    def id(self) -> str:
        """Return the id, such as ``eta/3``."""

    @property
    def model(self) -> str:
        """Return the name of the model."""


class ServableModel(Protocol):
    """A loaded version that can be asked; `loopwright.registry` makes them."""

    @property
    def version(self) -> ServedVersion:
        """Return which version this is."""

    @property
    def assembly(self) -> FeatureAssembly:
        """Return how request rows become the model's input."""

    def predict(self, X: object) -> Outputs:  # noqa: N803 - scikit-learn's name
        """Compute the answers for assembled rows."""


@dataclass(frozen=True)
class Answers:
    """The answers to one batch of rows, in row order.

    Attributes:
        values: The predicted numbers or classes as plain Python values.
        probabilities: One list per row in the order of ``classes``, or None.
        classes: The class labels as plain values, or None.
        features: The features as served, one mapping per row.
        classifies: Whether the values are classes.
    """

    values: list[object]
    probabilities: list[list[float]] | None
    classes: list[object] | None
    features: Sequence[Mapping[str, object]]
    classifies: bool


class Predictor:
    """Answer rows with one loaded version.

    Args:
        loaded: The version, from the registry.
        online: Where features that a request does not carry are looked up, or None.
        clock: The moment of the request, for the age of online features.
    """

    def __init__(self, loaded: ServableModel, *, online: OnlineStore | None, clock: Clock) -> None:
        self.loaded = loaded
        self.version_id = loaded.version.id
        self.version = int(self.version_id.rpartition("/")[2])
        self._online = online
        self._clock = clock

    def predict_many(self, rows: Sequence[dict[str, object]], *, now: datetime | None = None) -> Answers:
        """Answer all rows in one call of the model.

        Args:
            rows: Request fields by name, one mapping per row.
            now: The moment of the request; the clock's where it is not given.

        Raises:
            InvalidRequestError: When a row lacks a field or has a wrong type; says which.
            ModelFailedError: When the features or the model raise.
        """
        try:
            X, features = self.loaded.assembly.assemble(rows, self._online, now or self._clock.now())  # noqa: N806
        except RequestError:
            raise
        except LoopwrightError as error:
            raise InvalidRequestError(error.message, hint=error.hint) from error
        except Exception as error:
            raise ModelFailedError(f"The features of {self.version_id} failed: {type(error).__name__}.") from error
        try:
            outputs = self.loaded.predict(X)
        except Exception as error:
            raise ModelFailedError(f"The model {self.version_id} failed: {type(error).__name__}.") from error
        if len(outputs.values) != len(rows):
            raise ModelFailedError(f"The model {self.version_id} answered {len(outputs.values)} of {len(rows)} rows.")
        return Answers(
            values=outputs.values.tolist(),
            probabilities=None if outputs.probabilities is None else outputs.probabilities.tolist(),
            classes=None if outputs.classes is None else [_plain(label) for label in outputs.classes],
            features=features,
            classifies=outputs.kind != "regression",
        )


def _plain(label: object) -> object:
    item = getattr(label, "item", None)
    return item() if callable(item) else label
