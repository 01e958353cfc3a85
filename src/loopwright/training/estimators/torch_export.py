"""PyTorch modules as exported programs (``torch.export``), without the Python code that made them.

A training function may return a ``torch.nn.Module``. What it learned and what it computes are kept as one ``.pt2``
file: the program that ``torch.export`` traced, with its weights. Loading it needs PyTorch but not the module's class;
where it was compiled into an ONNX graph, answering needs no PyTorch at all.

The module gets a batch of rows as one tensor (its own floating type, shape (n, features) or (n, …) for
an array), a category as its code, and answers a tensor of shape (n,) or (n, 1). A classifier says so by an attribute
``classes_``: it then answers logits, as PyTorch's losses take them, of shape (n, classes), or (n,) for the second of
two classes. A mapping of tensors is a model with several outputs.

A ``.pt2`` file is not plain data: PyTorch falls back to unpickling for parts of it (``torch._export.serde``), so a file
from elsewhere is loaded only by somebody who vouches for it. PyTorch is an extra, imported here only where a module is
met.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loopwright.core.errors import DeclarationError, MissingExtraError, UntrustedError
from loopwright.core.hashing import digest_bytes
from loopwright.training.estimators.model_file import ModelFile
from loopwright.training.estimators.sklearn_skops import UnsavableError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TORCH_TRUST = "torch.export"
"""The word that has to be trusted by name before an exported program is loaded."""
_MODULE = ("torch.nn.modules.module", "Module")
_SAID = "loopwright.json"
_INPUT, _OUTPUT = "rows", "answers"


def is_torch_module(model: object) -> bool:
    """Say whether a model is a ``torch.nn.Module``, without importing PyTorch.

    >>> is_torch_module(3)
    False
    """
    return any(
        kind.__module__ == "torch.nn.modules.module" and kind.__name__ == "Module" for kind in type(model).__mro__
    )


class TorchModel:
    """Ask a PyTorch module, or a program exported from one, as an estimator.

    Args:
        module: Answers numbers or probabilities: `of_module` makes one of a trained module.
        dtype: The type of the numbers that it takes: ``float32`` or ``float64``.
        classes: The classes in the order of the logits; None for numbers.
        example: Some rows, at least one, as the model gets them; needed to save it.
        program: The exported program, where it was loaded from a file.

    Attributes:
        classes_: As `classes`, an array.
    """

    def __init__(
        self,
        module: Any,  # noqa: ANN401  (a ``torch.nn.Module``)
        *,
        dtype: str,
        classes: list[Any] | None,
        example: object = None,
        program: object = None,
    ) -> None:
        self.classes_ = None if classes is None else np.asarray(classes)
        self._module = module
        self._dtype = dtype
        self._example = example
        self._program: Any = program

    @classmethod
    def of_module(cls, module: Any, example: object) -> TorchModel:  # noqa: ANN401
        """Take a trained module as it is, in evaluation mode and on the CPU.

        Args:
            module: The ``torch.nn.Module``.
            example: Some rows, as the model gets them.
        """
        module = module.cpu().eval()
        kinds = [str(weight.dtype) for weight in module.parameters() if weight.dtype.is_floating_point]
        said = getattr(module, "classes_", None)
        classes = None if said is None else np.asarray(said).tolist()
        return cls(
            _answering(_torch(), module, classes),
            dtype="float64" if kinds[:1] == ["torch.float64"] else "float32",
            classes=classes,
            example=example,
        )

    def predict(self, rows: object) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """Answer a number or a class per row, or one array per named output."""
        answers = self._answers(rows)
        if isinstance(answers, dict) or self.classes_ is None:
            return cast("NDArray[Any]", answers)
        return np.asarray(self.classes_[answers.argmax(axis=1)])

    def predict_proba(self, rows: object) -> NDArray[Any]:
        """Answer one probability per row and class."""
        return cast("NDArray[Any]", self._answers(rows))

    def export(self) -> Any:  # noqa: ANN401  (a ``torch.export.ExportedProgram``)
        """Trace the module into a program for any number of rows; its answer is a number or probabilities.

        Raises:
            UnsavableError: The module cannot be traced, or only for a fixed number of rows.
        """
        if self._program is None:
            torch = _torch()
            example = numbers(self._example, self._dtype)
            if len(example) < 2:  # one row would be traced as a fixed number of rows
                example = np.repeat(example, 2, axis=0)
            try:
                with _quietly():
                    self._program = torch.export.export(
                        self._module,
                        (torch.from_numpy(example[:2]),),
                        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                    )
            except Exception as error:
                raise UnsavableError(
                    f"{type(self._module.inner).__name__} cannot be exported: {_first_line(error)}",
                    hint="See torch.export's rules for control flow, or declare the model with trust_pickle=True.",
                ) from error
        return self._program

    def to_bytes(self) -> bytes:
        """Write the exported program, with the classes and the type beside it."""
        sink = io.BytesIO()
        said = json.dumps({"dtype": self._dtype, "classes": self._classes})
        with _quietly():
            _torch().export.save(self.export(), sink, extra_files={_SAID: said})
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TorchModel:
        """Read what `to_bytes` wrote."""
        extra = {_SAID: ""}
        with _quietly():
            program = _torch().export.load(io.BytesIO(data), extra_files=extra)
        said = json.loads(extra[_SAID])
        return cls(program.module(), dtype=said["dtype"], classes=said["classes"], program=program)

    def graph(self, opset: int) -> bytes:
        """Write the program as an ONNX graph: input ``rows``; a number, or probabilities, out.

        Raises:
            MissingExtraError: PyTorch's exporter needs onnxscript.
        """
        torch = _torch()
        try:
            importlib.import_module("onnxscript")
        except ImportError:
            raise MissingExtraError("onnxscript", extra="torch") from None
        with _quietly():
            made = torch.onnx.export(
                self.export(),
                dynamo=True,
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                opset_version=opset,
                verbose=False,
            )
        return bytes(made.model_proto.SerializeToString(deterministic=True))

    @property
    def dtype(self) -> str:
        """Say which numbers it takes."""
        return self._dtype

    @property
    def _classes(self) -> list[Any] | None:
        return None if self.classes_ is None else self.classes_.tolist()

    def _answers(self, rows: object) -> Any:  # noqa: ANN401
        torch = _torch()
        with torch.inference_mode():
            answers = self._module(torch.from_numpy(numbers(rows, self._dtype)))
        if isinstance(answers, Mapping):
            return {name: values.numpy() for name, values in answers.items()}
        return answers.numpy()


class TorchFormat:
    """Save a PyTorch module as ``program.pt2``."""

    name = "torch"

    def can_save(self, model: object) -> bool:
        """Say whether the model is a PyTorch module that was made askable."""
        return isinstance(model, TorchModel)

    def save(self, model: object, folder: Path) -> ModelFile:
        """Export the module and write the program.

        Raises:
            UnsavableError: The module cannot be exported.
        """
        data = cast("TorchModel", model).to_bytes()
        path = folder / "program.pt2"
        path.write_bytes(data)
        return ModelFile(self.name, path.name, digest_bytes(data), len(data), "torch.nn.Module", (TORCH_TRUST,))

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:  # noqa: ARG002
        """Read the program back, as a `TorchModel`.

        Raises:
            UntrustedError: ``torch.export`` is not in ``trusted``.
        """
        if TORCH_TRUST not in trusted:
            raise UntrustedError(
                f"{path.name} is an exported PyTorch program, and loading one may run code inside it.",
                hint=f"If you know where it comes from, load it with trust=[{TORCH_TRUST!r}].",
            )
        return TorchModel.from_bytes(path.read_bytes())


def numbers(rows: object, dtype: str) -> NDArray[Any]:
    """Give a frame or an array as one array of numbers; a category as its code, -1 where missing.

    Raises:
        DeclarationError: When a column holds texts.
    """
    if isinstance(rows, np.ndarray):
        return np.array(rows, dtype=dtype, order="C")  # a copy: a module may write into what it is given
    frame = cast("Any", rows)
    columns = []
    for name in frame.columns:
        values = frame[name]
        values = values.cat.codes if hasattr(values, "cat") else values
        try:
            columns.append(np.asarray(values, dtype=dtype))
        except (TypeError, ValueError):
            raise DeclarationError(f"a PyTorch module takes numbers, and '{name}' holds {values.dtype}") from None
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _answering(torch: Any, module: Any, classes: list[Any] | None) -> Any:  # noqa: ANN401
    """Put behind a module what makes a number per row, or probabilities, of its answer."""

    class Answering(torch.nn.Module):  # type: ignore[misc]
        """Answer numbers of shape (n,), probabilities of shape (n, classes), or a mapping of tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, rows: Any) -> Any:  # noqa: ANN401
            answer = self.inner(rows)
            if isinstance(answer, Mapping):
                return dict(answer)
            if answer.dim() == 2 and answer.shape[1] == 1:
                answer = answer[:, 0]
            if classes is None:
                return answer
            if answer.dim() == 1:
                second = torch.sigmoid(answer)
                return torch.stack([1 - second, second], dim=1)
            return torch.softmax(answer, dim=1)

    return Answering().eval()


def _torch() -> Any:  # noqa: ANN401  (the module)
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise MissingExtraError("torch", extra="torch") from None


@contextmanager
def _quietly() -> Iterator[None]:
    # The exporters tell of deprecations of their own and of packages that they do without.
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
