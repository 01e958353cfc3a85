"""A graph bound to buffers for exactly one row: the cheapest way to ask ONNX Runtime the same small question again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class OrtTensor(Protocol):
    """An ``onnxruntime.OrtValue``."""

    def numpy(self) -> NDArray[np.generic]:
        """Return the buffer as an array; the same memory."""


class OrtBinding(Protocol):
    """An ``onnxruntime.IOBinding``."""

    def bind_ortvalue_input(self, name: str, value: OrtTensor) -> None:
        """Read an input from a buffer."""

    def bind_ortvalue_output(self, name: str, value: OrtTensor) -> None:
        """Write an output to a buffer."""


class OrtSession(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used here."""

    def io_binding(self) -> OrtBinding:
        """Return an empty binding."""

    def run(self, names: Sequence[str], feed: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Run on arrays."""

    def run_with_iobinding(self, binding: OrtBinding) -> None:
        """Run on bound buffers."""


def bind_one_row(
    session: OrtSession, width: int, dtype: np.dtype[np.generic], *, name: str, outputs: Sequence[str]
) -> OneRow | None:
    """Bind a graph to buffers for one row, or return None where it does not answer through them as it usually does.

    Args:
        session: The session.
        width: Numbers in the row.
        dtype: Their type in the graph.
        name: The graph's name of its input.
        outputs: The outputs to read.
    """
    probe = np.ones((1, width), dtype=dtype)
    try:
        expected = session.run(outputs, {name: probe})
        if not all(isinstance(array, np.ndarray) and array.dtype.kind in "fiub" for array in expected):
            return None
        bound = OneRow(session, np.zeros_like(probe), expected, name=name, outputs=outputs)
        answered = bound.run(probe)
    except Exception:  # noqa: BLE001 - a graph that cannot be bound, for whatever reason, is asked in the usual way
        return None
    alike = answered is not None and all(map(np.array_equal, answered, expected))
    return bound if alike else None


class OneRow:
    """Ask a session about one row of numbers, through buffers that are made once.

    Saves the making of tensors and the look-up of names at each call, about a third of what a call of a small model
    costs. One caller at a time: a second one is sent away with None instead of waiting.

    Args:
        session: The session.
        row: A row, shape (1, width), of the graph's type.
        answers: Its answers, one array of numbers per output.
        name: The graph's name of its input.
        outputs: The outputs to read.
    """

    def __init__(
        self,
        session: OrtSession,
        row: NDArray[np.generic],
        answers: Sequence[NDArray[np.generic]],
        *,
        name: str,
        outputs: Sequence[str],
    ) -> None:
        from onnxruntime import OrtValue  # noqa: PLC0415  (0.1 s that listing models need not pay)

        self._session_run = session.run_with_iobinding
        self._binding = session.io_binding()
        self._input: OrtTensor = OrtValue.ortvalue_from_numpy(row)
        self._row = self._input.numpy()  # the buffers themselves: written and read without a call of the library
        self._outputs: list[OrtTensor] = [OrtValue.ortvalue_from_numpy(np.zeros_like(array)) for array in answers]
        self._answers = [output.numpy() for output in self._outputs]
        tensors, views = [self._input, *self._outputs], [self._row, *self._answers]
        if not all(np.shares_memory(tensor.numpy(), view) for tensor, view in zip(tensors, views, strict=True)):
            raise ValueError("the arrays of this ONNX Runtime are copies of its buffers")
        self._lock = threading.Lock()
        self._binding.bind_ortvalue_input(name, self._input)
        for output, buffer in zip(outputs, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(output, buffer)

    def run(self, row: NDArray[np.generic]) -> list[NDArray[np.generic]] | None:
        """Return the outputs for a matrix of one row, or None while another caller has the buffers."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._row[:] = row
            self._session_run(self._binding)
            return [answers.copy() for answers in self._answers]
        finally:
            self._lock.release()
