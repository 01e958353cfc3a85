"""What every adapter of the compute port must do. Each function takes an opened one, with two workers or more.

The tasks run in workers, which import this module: ``tasks_of_a_folder`` is their entry.
"""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from loopwright.core.compute import MOST_ATTEMPTS, Work
from loopwright.core.errors import FailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.compute import Compute

_HERE = "loopwright.core.conformance.compute"


def tasks_of_a_folder(setup: object) -> Callable[[object], object]:
    """Make what does the suite's tasks: a number is squared, a word says what goes wrong.

    Raises:
        UsageError: If the folder is not there.
    """
    folder = Path(cast("str", setup))
    if not folder.is_dir():
        raise UsageError("There is no such folder.", hint="Make it.")

    def do(task: object) -> object:
        match task:
            case int():
                return task * task
            case "pid":
                return os.getpid()
            case "fail":
                raise UsageError("This cannot be.", hint="Do otherwise.")
            case "bug":
                raise ZeroDivisionError("of ours")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case str():  # dies the first time, and is done the second
                mark = folder / task
                if not mark.exists():
                    mark.write_text(str(os.getpid()))
                    os.kill(os.getpid(), signal.SIGKILL)
                return mark.name
        raise AssertionError(task)

    return do


def work_in(folder: Path) -> Work:
    """Return the work of the suite."""
    return Work(f"{_HERE}:tasks_of_a_folder", str(folder))


def does_every_task_once(compute: Compute, folder: Path) -> None:
    """Each task has one end, whatever the order."""
    ended = list(compute.run(work_in(folder), list(range(25))))
    assert {one.number: one.value for one in ended} == {number: number * number for number in range(25)}
    assert len(ended) == 25
    assert all(one.attempts == 1 and one.failure is None for one in ended)


def has_nothing_to_do(compute: Compute, folder: Path) -> None:
    """No tasks, no ends."""
    assert list(compute.run(work_in(folder), [])) == []


def tells_what_failed(compute: Compute, folder: Path) -> None:
    """An error is told in words, is not tried again, and stops no other task."""
    ended = {one.number: one for one in compute.run(work_in(folder), ["fail", 3, "bug"])}
    assert ended[1].value == 9
    fail, bug = ended[0].failure, ended[2].failure
    assert fail is not None
    assert bug is not None
    assert (fail.kind, fail.message, fail.hint) == ("UsageError", "This cannot be.", "Do otherwise.")
    assert (bug.kind, bug.message, ended[2].attempts) == ("ZeroDivisionError", "ZeroDivisionError: of ours", 1)


def does_again_what_a_dead_worker_was_at(compute: Compute, folder: Path) -> None:
    """A killed worker's task is done by another one; the others' are not touched."""
    ended = {one.number: one for one in compute.run(work_in(folder), [1, "first", 2, "second", 3])}
    assert {number: one.value for number, one in ended.items()} == {0: 1, 1: "first", 2: 4, 3: "second", 4: 9}
    assert (ended[1].attempts, ended[3].attempts) == (2, 2)


def gives_up_a_task_that_kills(compute: Compute, folder: Path) -> None:
    """A task that kills every worker that does it is given up, and the others are done."""
    ended = {one.number: one for one in compute.run(work_in(folder), ["die", 5])}
    assert ended[1].value == 25
    assert ended[0].failure is not None
    assert (ended[0].failure.kind, ended[0].attempts) == ("WorkerDied", MOST_ATTEMPTS)


def refuses_work_that_cannot_begin(compute: Compute, folder: Path) -> None:
    """Where a worker cannot open what it needs, the run says why."""
    with pytest.raises(FailedError, match="There is no such folder") as refused:
        list(compute.run(work_in(folder / "absent"), [1]))
    assert refused.value.hint == "Make it."


def stops_when_closed(compute: Compute, folder: Path) -> None:
    """Closing the iterator ends the run; another one can begin."""
    ends = iter(compute.run(work_in(folder), list(range(1000))))
    next(ends)
    ends.close()  # type: ignore[attr-defined]
    does_every_task_once(compute, folder)


SUITE = (
    does_every_task_once,
    has_nothing_to_do,
    tells_what_failed,
    does_again_what_a_dead_worker_was_at,
    gives_up_a_task_that_kills,
    refuses_work_that_cannot_begin,
    stops_when_closed,
)
