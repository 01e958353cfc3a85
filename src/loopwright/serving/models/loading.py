"""Making a version ready to answer: load, golden-row self-test, timing; refused versions never meet traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import FailedError
from loopwright.registry.golden import rows_of
from loopwright.serving.calls.slot import Slot
from loopwright.serving.models.warm_up import measure_batches
from loopwright.serving.predictor import Predictor, rows_taken

if TYPE_CHECKING:
    from loopwright.core.clock import Clock
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.online import OnlineStore
    from loopwright.registry.golden import Golden
    from loopwright.registry.rows import Rows
    from loopwright.serving.predictor import ServableModel

_ABSOLUTE_TOLERANCE = 1e-4
_RELATIVE_TOLERANCE = 1e-4
_LABEL_FLIPS_ALLOWED = 0.01


def prepare(loaded: ServableModel, *, online: OnlineStore | None, clock: Clock) -> Slot:
    """Warm a loaded version, test it on its golden rows, and find where its calls should run.

    Raises:
        FailedError: When it does not answer its golden rows as recorded.
    """
    predictor = Predictor(loaded, online=online, clock=clock)
    golden = loaded.golden()
    self_test(loaded, golden)
    costs = measure_batches(lambda rows: _seconds(loaded, golden, rows, clock))
    return Slot(predictor, costs.inline_rows, costs.max_batch_rows, costs.service_time())


def self_test(loaded: ServableModel, golden: Golden) -> None:
    """Compare the version's answers to its golden rows with those recorded at registration.

    Raises:
        FailedError: When numbers or probabilities differ by more than 1e-4, or more than 1 % of the labels.
    """
    answered = loaded.predict(rows_of(golden.table, loaded.signature.inputs))
    difference = _difference(answered, golden.outputs)
    if difference is not None:
        raise FailedError(
            f"{loaded.version.id} fails its self-test on {len(golden)} golden rows: {difference}.",
            hint="The version that was serving goes on. Look at the environment: library versions, or a damaged file.",
        )


def _difference(answered: Outputs, recorded: Outputs) -> str | None:
    if len(answered) != len(recorded):
        return f"{len(answered)} answers"
    compared = [
        ("value", answered.values, recorded.values),
        ("probability", answered.probabilities, recorded.probabilities),
    ]
    if recorded.named is not None:
        named = answered.named or {}
        if named.keys() != recorded.named.keys():
            return f"its outputs are {', '.join(named) or 'not named'}"
        compared = [(f"'{name}'", named[name], values) for name, values in recorded.named.items()]
    for name, got, expected in compared:
        if got is None or expected is None:
            continue
        if got.shape != expected.shape:
            return f"a {name} has the shape {got.shape[1:]}"
        if expected.dtype.kind not in "biuf" or (name == "value" and recorded.kind != "regression"):
            flips = int(np.count_nonzero(got != expected))
            if flips > _LABEL_FLIPS_ALLOWED * len(expected):
                return f"{flips} labels differ"
            continue
        near = np.isclose(
            got.astype(np.float64),
            expected.astype(np.float64),
            rtol=_RELATIVE_TOLERANCE,
            atol=_ABSOLUTE_TOLERANCE,
            equal_nan=True,
        )
        if not near.all():
            worst = float(np.nanmax(np.abs(got.astype(np.float64) - expected.astype(np.float64))))
            return f"the largest difference of a {name} is {worst:.2g}"
    return None


def _seconds(loaded: ServableModel, golden: Golden, rows: int, clock: Clock) -> float:
    """Return the time of a call of so many golden rows, repeated where there are fewer."""
    fields = loaded.signature.inputs
    stored = rows_of(golden.table.take(np.arange(rows) % len(golden)), fields)
    sample: Rows = stored
    if not isinstance(stored, np.ndarray) and rows_taken(fields, loaded.form) != "training":
        sample = {field.name: stored[field.name].to_numpy() for field in fields}
    began = clock.monotonic()
    loaded.predict(sample)
    return clock.monotonic() - began
