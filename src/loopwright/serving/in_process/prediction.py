"""An answer as a program gets it: one row's value, and where it came from."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads the types of fields
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from loopwright.serving.calls.inference_call import Served


class Prediction(msgspec.Struct, frozen=True):
    """The answer to one row.

    Attributes:
        value: The predicted number or class; several named outputs as a dict.
        prediction_id: Names it in the prediction log; an outcome is reported under it.
        model: Name of the model.
        version: Number of the version that computed it.
        route: ``champion``, ``canary`` or ``pinned``.
        request_id: Groups the rows of one call.
        classes: The classes, where the model gives probabilities.
        class_probabilities: The probability of each class, in the order of ``classes``, or None.
        ignored: Names that the rows of the call carried and the model does not know.
    """

    value: object
    prediction_id: str
    model: str
    version: int
    route: str
    request_id: str
    classes: tuple[object, ...] | None = None
    class_probabilities: Sequence[float] | None = None
    ignored: tuple[str, ...] = ()

    @property
    def probabilities(self) -> dict[object, float] | None:
        """The probability of each class by its label, or None where the model gives none."""
        if self.classes is None or self.class_probabilities is None:
            return None
        return dict(zip(self.classes, self.class_probabilities, strict=True))


def predictions_of(served: Served) -> list[Prediction]:
    """Return an answer row by row, in the order of the rows."""
    answers = served.answers
    probabilities, classes = answers.probabilities, answers.classes
    return [
        Prediction(
            value,
            prediction_id,
            served.model,
            served.version,
            served.route,
            served.request_id,
            None if probabilities is None else classes,
            None if probabilities is None else probabilities[row],
            answers.ignored,
        )
        for row, (value, prediction_id) in enumerate(zip(answers.values, served.prediction_ids, strict=True))
    ]
