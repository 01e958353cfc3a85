"""Find the forms that a version can answer in, and settle by measurement which one answers how many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from loopwright.features.column_block import ColumnBlock
from loopwright.registry.compiled import CompiledModel
from loopwright.registry.form_choice import SIZES, FormChoice, measured
from loopwright.registry.library_form import LibraryForm, LibraryModel
from loopwright.registry.parity import hold_against, recombined
from loopwright.registry.rows import category_codes, column_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.features.columns import Array, ModelInput
    from loopwright.features.field import Field
    from loopwright.registry.compile import Compilation
    from loopwright.registry.form_choice import Form
    from loopwright.registry.native import NativeModel
    from loopwright.registry.parity import Answers
    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import Signature


def settle_forms(
    native: NativeModel, signature: Signature, rows: ModelInput, compilation: Compilation
) -> tuple[LibraryForm | None, FormChoice]:
    """Find the library form, if there is one that answers as the native form does, and choose by measurement.

    Args:
        native: The native form.
        signature: What it takes and answers.
        rows: The golden rows, as the estimator got its rows in training.
        compilation: The compiled form, or why there is none.
    """
    answering: dict[Form, Answers] = {}
    sample = rows if len(rows) > 1 else recombined(rows, count=2)
    if compilation.graph is not None and compilation.form is not None:
        compiled = CompiledModel(compilation.graph, compilation.form, signature)
        answering["onnx"] = compiled
        sample = sample[compiled.carries(sample)]
    library, record = LibraryModel(native.estimator, signature), None
    if library.library is not None:
        try:
            parity = hold_against(native, library, rows)
        except Exception:  # noqa: BLE001  (whatever the library refuses in this way, its estimator answers)
            parity = None
        if parity is not None and parity.holds:
            answering["library"] = library
            record = LibraryForm(library.library, parity.rows, parity.largest_difference)
    if not answering:
        return None, FormChoice("native", "native")
    answering["native"] = native
    # Recombined rows as a server hands them over, each number of rows once.
    many = {count: as_served(recombined(sample, count=count), signature.inputs) for count in SIZES}

    def call(model: Answers) -> Callable[[int], object]:
        return lambda count: model.predict(many[count])

    with threadpool_limits(limits=1):
        return record, measured({form: call(model) for form, model in answering.items()})


def as_served(rows: ModelInput, fields: tuple[Field, ...]) -> Rows:
    """Give a frame's rows as plain columns, as a request's rows reach the model; other rows as they are."""
    if isinstance(rows, np.ndarray) or any(field.is_vector or field.dtype == "timestamp" for field in fields):
        return rows
    if all(field.dtype == "float64" for field in fields):
        return ColumnBlock(column_names(fields), np.ascontiguousarray(rows.to_numpy(dtype=np.float64)))
    columns: dict[str, Array] = {}
    for field in fields:
        values = rows[field.name].to_numpy()
        columns[field.name] = category_codes(values, field) if field.dtype == "category" else values
    return columns
