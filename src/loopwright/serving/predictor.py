"""One predictor behind every door: rows in, answers out, for one loaded version.

The predictor knows no protocol, no routing and no log. It assembles the request's rows into what the model got in
training (with online features where the model has them), computes one batch per call, and turns the outputs into plain
values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import msgspec
import numpy as np

from loopwright.core.errors import LoopwrightError, ModelFailedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.assembly import Assembled, FeatureAssembly
    from loopwright.features.field import Field
    from loopwright.features.online import OnlineStore
    from loopwright.features.request import RequestField
    from loopwright.registry.form_choice import Form
    from loopwright.registry.golden import Golden
    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import OutputSpec, Signature

RowsTaken: TypeAlias = Literal["training", "columns", "texts"]


class ServedVersion(Protocol):
    """What serving needs to know of a model version."""

    @property
    def id(self) -> str:
        """Return the id, such as ``eta/3``."""


class ServableModel(Protocol):
    """A loaded version that can be asked; `loopwright.registry.package.LoadedModel` is one."""

    @property
    def form(self) -> Form:
        """Return which form answers."""

    @property
    def assembly(self) -> FeatureAssembly:
        """Return the request-time half of its features."""

    @property
    def version(self) -> ServedVersion:
        """Return which version this is."""

    @property
    def signature(self) -> Signature:
        """Return what it takes and answers."""

    def predict(self, rows: Rows) -> Outputs:
        """Answer assembled rows."""

    def golden(self) -> Golden:
        """Return rows with the answers recorded for them."""


class Answers(msgspec.Struct, frozen=True):
    """The answers to one batch of rows, in row order.

    Attributes:
        values: The predicted numbers or classes as plain Python values.
        probabilities: One list per row in the order of ``classes``, or None.
        classes: The class labels as plain values, or None.
        assembled: The features of the rows, and of others that were computed with them.
        classifies: Whether the values are classes.
        ignored: The fields that the rows carried and the model does not know.
        first: The place of the first row among those assembled.
        output: What the version's signature says of its answers; None where no version computed them.
    """

    values: list[object]
    probabilities: list[list[float]] | None
    classes: tuple[object, ...] | None
    assembled: Assembled
    classifies: bool
    ignored: tuple[str, ...] = ()
    first: int = 0
    output: OutputSpec | None = None

    @property
    def features(self) -> list[dict[str, object]]:
        """Return the features as served, one mapping per row."""
        served = self.assembled.served
        rows = len(self.values)
        return served if len(served) == rows else served[self.first : self.first + rows]

    def part(self, first: int, stop: int, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return the answers of those rows that stand at ``first`` to ``stop``."""
        probabilities, ignored = self.probabilities, self.ignored
        return Answers(
            self.values[first:stop],
            None if probabilities is None else probabilities[first:stop],
            self.classes,
            self.assembled,
            self.classifies,
            ignored and tuple(name for name in ignored if any(name in row for row in rows)),
            self.first + first,
            self.output,
        )


class Predictor:
    """Answer rows with one loaded version.

    Args:
        loaded: The version, from the registry.
        online: Where features that a request does not carry are looked up, or None.
        clock: The moment of the request, for the age of online features.
    """

    def __init__(self, loaded: ServableModel, *, online: OnlineStore | None, clock: Clock) -> None:
        self.loaded = loaded
        self.assembly = loaded.assembly
        self.version_id = loaded.version.id
        self.version = int(self.version_id.rpartition("/")[2])
        self._online = online
        self._clock = clock
        self._takes = rows_taken(loaded.assembly.fields, loaded.form)

    @property
    def inputs(self) -> tuple[RequestField, ...]:
        """Return the fields of a request row."""
        return self.assembly.inputs

    def predict_many(self, rows: Sequence[Mapping[str, object]], *, now: datetime | None = None) -> Answers:
        """Answer all rows in one call of the model.

        Args:
            rows: Request fields by name, one mapping per row.
            now: The moment of the request; the clock's where it is not given.

        Raises:
            InvalidRequestError: When a row lacks a field or has a wrong type; says which.
            ModelFailedError: When the features or the model raise.
        """
        assembled, outputs = self.compute(rows, now=now)
        return Answers(
            values=outputs.values.tolist(),
            probabilities=None if outputs.probabilities is None else outputs.probabilities.tolist(),
            classes=outputs.classes,
            assembled=assembled,
            classifies=outputs.kind != "regression",
            ignored=assembled.ignored,
            output=self.loaded.signature.output,
        )

    def compute(
        self, rows: Sequence[Mapping[str, object]], *, now: datetime | None = None
    ) -> tuple[Assembled, Outputs]:
        """Answer all rows in one call of the model, as arrays; see `predict_many`."""
        try:
            assembled = self.assembly.assemble(rows, self._online, now or self._clock.now())
        except RequestError:
            raise
        except LoopwrightError as error:
            raise ModelFailedError(f"The features of {self.version_id} failed: {error.message}") from error
        except Exception as error:
            raise ModelFailedError(f"The features of {self.version_id} failed: {type(error).__name__}.") from error
        try:
            outputs = self.loaded.predict(self._model_rows(assembled))
        except RequestError:
            raise
        except Exception as error:
            raise ModelFailedError(f"The model {self.version_id} failed: {type(error).__name__}.") from error
        if len(outputs.values) != len(rows):
            raise ModelFailedError(f"The model {self.version_id} answered {len(outputs.values)} of {len(rows)} rows.")
        return assembled, outputs

    def _model_rows(self, assembled: Assembled) -> Rows:
        if self._takes == "training":
            return assembled.X
        if self._takes == "columns":
            return assembled.columns
        columns = dict(assembled.columns)
        for field in assembled.fields:
            if field.dtype == "category":
                codes = cast("np.ndarray[tuple[int], np.dtype[np.int32]]", columns[field.name])
                columns[field.name] = np.array([*field.categories, None], dtype=object)[codes]
        return columns


def rows_taken(fields: Sequence[Field], form: Form) -> RowsTaken:
    """Return the cheapest form of the rows that is exactly what the model knows from training.

    The native form gets what training gave it. A compiled one takes plain columns, which spares a data frame per
    request; categories go as text.
    """
    if form == "native" or any(field.is_vector or field.dtype == "timestamp" for field in fields):
        return "training"
    return "texts" if any(field.dtype == "category" for field in fields) else "columns"
