"""The port of what spreads tasks over worker processes: here, or on other machines.

A worker is made once (`Work`: a function that opens what it needs and returns another, which does one task), then asked
once per task. Results come as they are ready, in no order. A worker that dies takes nothing with it but the task it was
at, which another one does again; tasks must therefore bear being done twice.

``LocalCompute`` (``loopwright.core.compute_local``) is a pool of processes of this machine; ``RayCompute``
(``loopwright.core.compute_ray``) asks a Ray cluster. Their conformance suite is
``loopwright.core.conformance.compute``.
"""

from __future__ import annotations

import importlib
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import LoopwrightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_ATTEMPTS = 3
"""How often a task is begun before it is given up: each time, the worker that did it died."""


@dataclass(frozen=True)
class Work:
    """What workers do.

    Attributes:
        entry: ``package.module:function``; called in each worker with ``setup``, it returns what is called with a task.
        setup: What the worker opens itself with; it is pickled, as tasks and results are.
    """

    entry: str
    setup: object


@dataclass(frozen=True)
class Failure:
    """Why a task has no result.

    Attributes:
        kind: The class of the error, or ``WorkerDied``.
        message: What was wrong.
        hint: The next step, or None.
        details: The traceback in the worker; empty where the error is one that users cause.
    """

    kind: str
    message: str
    hint: str | None = None
    details: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an error in words that travel."""
        if isinstance(error, LoopwrightError):
            return cls(type(error).__name__, error.message, error.hint)
        said = str(error) or "no message"
        return cls(type(error).__name__, f"{type(error).__name__}: {said}", None, traceback.format_exc())


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended.

    Attributes:
        number: Its place in the sequence of tasks.
        value: Its result; None where it failed.
        failure: Why it failed, or None.
        attempts: How often it was begun; more than once where a worker died.
    """

    number: int
    value: object = None
    failure: Failure | None = None
    attempts: int = 1


class Compute(Protocol):
    """Spreads tasks over workers."""

    @property
    def workers(self) -> int:
        """Return how many tasks are done at once, at most."""
        ...

    def run(self, work: Work, tasks: Sequence[object]) -> Iterator[TaskEnd]:
        """Do all tasks and give each one's end as it comes; closing the iterator stops the workers at once.

        A task that raises is not done again. One whose worker died is, up to `MOST_ATTEMPTS` times.

        Raises:
            FailedError: If workers cannot be made.
        """
        ...

    def close(self) -> None:
        """Give back what is held between two runs."""
        ...


def opened(work: Work) -> Callable[[object], object]:
    """Make what does the tasks, in the process of the worker."""
    module, _, name = work.entry.partition(":")
    make = getattr(importlib.import_module(module), name)
    made: Callable[[object], object] = make(work.setup)
    return made
