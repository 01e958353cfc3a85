"""Compile a fitted estimator into an ONNX graph, and keep it only if it answers as the estimator does.

Which types the graph takes: trees and forests of scikit-learn compare float32 numbers themselves, so their graph
takes float32 first; everything else that was trained on float64 takes float64 first and float32 if that cannot be
converted. Each attempt passes the parity gate or is dropped, and the reason is kept for the model's card.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from loopwright.core.errors import LoopwrightError
from loopwright.core.hashing import digest_bytes
from loopwright.features.columns import flat_names
from loopwright.registry.boosted import boosted_trees, library_of, register_converters
from loopwright.registry.cannot_compile import CannotCompileError
from loopwright.registry.category_tables import with_tables
from loopwright.registry.compiled import CompiledForm, CompiledModel, TensorInput
from loopwright.registry.encoders import refused_categories
from loopwright.registry.hist_boosting import converters
from loopwright.registry.hist_categories import encode, prepend, takes_codes
from loopwright.registry.imputing import imputer_converter
from loopwright.registry.parity import hold_against
from loopwright.registry.rows import column_names
from loopwright.registry.tree_ensemble import FloatType, tree_graph
from loopwright.training.estimators.torch_export import TorchModel

if TYPE_CHECKING:
    from loopwright.features.columns import ModelInput
    from loopwright.features.field import Field
    from loopwright.registry.compiled import LabelSource, TensorType
    from loopwright.registry.native import NativeModel
    from loopwright.registry.signature import Signature
    from loopwright.registry.tree_ensemble import Trees

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Operator sets of the graph: old enough for every ONNX Runtime since 1.14."""
INPUT = "rows"
REASON_CHARACTERS = 400


@dataclass(frozen=True)
class Compilation:
    """Hold a compiled form that passed the gate, or the reason why there is none."""

    graph: bytes | None = None
    form: CompiledForm | None = None
    reason: str | None = None


def compile_model(native: NativeModel, signature: Signature, rows: ModelInput) -> Compilation:
    """Compile the native form and compare both on the golden rows and on recombinations of them.

    Args:
        native: The native form.
        signature: What it takes and answers.
        rows: The golden rows, as the estimator got its rows in training.
    """
    if signature.output.kind == "named":
        return Compilation(reason="the model gives several named outputs, and no converter knows how it makes them")
    dated = [field.name for field in signature.inputs if field.dtype == "timestamp"]
    if dated:
        return Compilation(reason=f"an ONNX graph takes no timestamps ({', '.join(dated)})")
    reasons: list[str] = []
    try:
        refused = refused_categories(native.estimator, column_names(signature.inputs))
        trees = boosted_trees(native.estimator)
    except CannotCompileError as refusal:
        return Compilation(reason=str(refusal))
    except Exception as error:  # noqa: BLE001  (trees in a form that these readers do not know yet)
        return Compilation(reason=f"its trees cannot be read: {_first_line(error)}")
    for inputs in _attempts(native.estimator, signature, refused):
        try:
            return _attempt(native, signature, rows, inputs, trees)
        except CannotCompileError as refusal:
            reasons.append(f"as {_described(inputs)}: {refusal}")
    return Compilation(reason="; ".join(dict.fromkeys(reasons))[:REASON_CHARACTERS])


def _attempt(
    native: NativeModel,
    signature: Signature,
    rows: ModelInput,
    inputs: tuple[TensorInput, ...],
    trees: Trees | None,
) -> Compilation:
    if isinstance(native.estimator, TorchModel):
        graph = _exported(native.estimator)
    else:
        graph = _convert(native.estimator, signature, inputs) if trees is None else _written(trees, signature, inputs)
    layout: Literal["matrix", "columns"] = "matrix" if inputs[0].name == INPUT else "columns"
    refusals: list[str] = []
    for source in _label_sources(signature):
        form = CompiledForm(digest_bytes(graph), len(graph), layout, inputs, source)
        try:
            parity = hold_against(native, CompiledModel(graph, form, signature), rows)
        except Exception as error:  # noqa: BLE001  (whatever the runtime refuses is a reason to stay native)
            refusals.append(_first_line(error))
            continue
        if parity.holds:
            kept = replace(form, rows_compared=parity.rows, largest_difference=parity.largest_difference)
            return Compilation(graph, kept)
        refusals.append(str(parity))
    raise CannotCompileError("; ".join(dict.fromkeys(refusals)))


def _written(trees: Trees, signature: Signature, inputs: tuple[TensorInput, ...]) -> bytes:
    """Write the graph of a model that is nothing but trees, without skl2onnx."""
    (tensor,) = inputs
    dtype: FloatType = "float32" if tensor.dtype == "float32" else "float64"
    float32_features = all(field.dtype == "float32" for field in signature.inputs)
    fitting = trees.for_input(dtype, float32_features=float32_features)
    tabled = with_tables(fitting, signature.inputs)
    graph = tree_graph(tabled.trees, width=signature.width + tabled.indicators, dtype=dtype, name=tensor.name)
    if tabled.tables:
        prepend(graph, tabled, tensor.name, signature.width, dtype=dtype)
    return cast("bytes", graph.SerializeToString(deterministic=True))


def _exported(model: TorchModel) -> bytes:
    try:
        return model.graph(OPSETS[""])
    except LoopwrightError as error:
        raise CannotCompileError(f"{error.message} {error.hint or ''}".strip()) from error
    except Exception as error:
        raise CannotCompileError(_first_line(error)) from error


def _convert(estimator: object, signature: Signature, inputs: tuple[TensorInput, ...]) -> bytes:
    from skl2onnx import convert_sklearn  # noqa: PLC0415  (1.5 s, and only registering needs it)
    from skl2onnx.common import data_types  # noqa: PLC0415

    register_converters()
    coded = inputs[0].name == INPUT and takes_codes(estimator, signature.inputs)
    encoded = encode(estimator, signature.inputs) if coded else None
    subject = estimator if encoded is None else encoded.model
    tensors = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType,
        "str": data_types.StringTensorType,
    }
    extra = 0 if encoded is None else encoded.indicators
    width = [signature.width + extra] if inputs[0].name == INPUT else [1] * len(inputs)
    types = [(item.name, tensors[item.dtype]([None, columns])) for item, columns in zip(inputs, width, strict=True)]
    float32_features = all(field.dtype == "float32" for field in signature.inputs if field.is_numeric)

    def convert(options: dict[int, dict[str, bool]] | None) -> Any:  # noqa: ANN401  (an ONNX model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skl2onnx touches deprecated attributes of the estimators
            return convert_sklearn(
                subject,
                name="model",
                initial_types=types,
                options=options,
                target_opset=OPSETS,
                custom_conversion_functions=converters(float32_features=float32_features) | imputer_converter(),
            )

    try:
        try:
            graph = convert(None if signature.output.kind == "regression" else {id(subject): {"zipmap": False}})
        except NameError:  # a classifier without probabilities may not know the option, and does not need it
            graph = convert(None)
    except CannotCompileError:
        raise
    except Exception as error:
        raise CannotCompileError(_first_line(error)) from error
    if encoded is not None:
        prepend(graph, encoded, INPUT, signature.width)
    return cast("bytes", graph.SerializeToString(deterministic=True))


def _attempts(
    estimator: object, signature: Signature, refused: dict[str, tuple[str, ...]]
) -> list[tuple[TensorInput, ...]]:
    """List the inputs to try, the preferred first."""
    floats = _float_order(estimator, signature)
    fields = signature.inputs
    if isinstance(estimator, TorchModel):
        return [(TensorInput(INPUT, "float64" if estimator.dtype == "float64" else "float32"),)]
    if library_of(estimator) is not None or signature.layout == "array":
        return [(TensorInput(INPUT, dtype),) for dtype in floats]
    tried: list[tuple[TensorInput, ...]] = []
    if all(field.is_numeric for field in fields) or takes_codes(estimator, fields):
        tried += [(TensorInput(INPUT, dtype),) for dtype in floats]
    for keep_integers in (False, True):
        for dtype in floats:
            inputs = tuple(
                TensorInput(name, _tensor_type(field, dtype, keep_integers=keep_integers), refused.get(name))
                for field in fields
                for name in flat_names(field)
            )
            if inputs not in tried:
                tried.append(inputs)
    return tried


def _tensor_type(field: Field, floats: FloatType, *, keep_integers: bool) -> TensorType:
    if field.dtype in {"string", "category"}:
        return "str"
    return "int64" if keep_integers and field.dtype == "int64" else floats


def _float_order(estimator: object, signature: Signature) -> tuple[FloatType, ...]:
    if all(field.dtype == "float32" for field in signature.inputs):
        return ("float32", "float64")
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    trees = type(last).__module__.startswith(("sklearn.ensemble", "sklearn.tree"))
    trees = trees or library_of(estimator) == "xgboost"  # which makes its rows float32 first; a pipeline's steps do not
    return ("float32", "float64") if trees else ("float64", "float32")


def _label_sources(signature: Signature) -> tuple[LabelSource, ...]:
    if signature.output.kind == "regression":
        return ("values",)
    return ("probabilities", "label") if signature.output.probabilities else ("label",)


def _described(inputs: tuple[TensorInput, ...]) -> str:
    kinds = ", ".join(sorted({item.dtype for item in inputs}))
    return f"one matrix of {kinds}" if inputs[0].name == INPUT else f"columns of {kinds}"


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:200]}"
