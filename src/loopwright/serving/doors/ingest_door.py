"""Rows handed over by HTTP: pushed through the dataset's contract, and durable before the caller is thanked.

Callers who come while a commit is under way wait in line, and the next commit takes all of them, so that many small
pushes do not cost a commit each. The line is bounded in rows and in bytes; who finds it full is told when to come
again (429), and nothing of theirs is kept. Waiting costs the event loop nothing: predictions and health are answered
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from loopwright.core.errors import (
    IngestStoppedError,
    InvalidRequestError,
    LoopwrightError,
    NotFoundRequestError,
    NotReadyError,
    OverloadedError,
    RequestError,
    SourceError,
    TooLargeError,
    UsageError,
)
from loopwright.serving.bodies.pushed_body import read_batch
from loopwright.serving.bodies.row_bounds import MAX_ROWS
from loopwright.serving.http.message import HttpResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from loopwright.data.dataset import Dataset
    from loopwright.data.ingest.pushing import PushedBatch
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import IngestReport

MAX_WAITING_ROWS = 500_000  # per dataset, those being committed included
MAX_WAITING_BYTES = 64 << 20
_MOST_TOGETHER_ROWS = MAX_ROWS
_MOST_TOGETHER = 512  # batches in one commit
_FIRST_GUESS_S = 0.1  # what a commit takes, before one was measured
_SMOOTHING = 0.3


@dataclass(frozen=True)
class _Waiting:
    batch: PushedBatch
    rows: int
    size_bytes: int
    answer: asyncio.Future[IngestReport | LoopwrightError]


@dataclass
class _Line:
    """Who waits for one dataset's next commit."""

    dataset: Dataset
    waiting: deque[_Waiting] = field(default_factory=deque)
    rows: int = 0
    size_bytes: int = 0
    commit_s: float = _FIRST_GUESS_S
    task: asyncio.Task[None] | None = None

    def is_full_for(self, rows: int, size_bytes: int, most_rows: int, most_bytes: int) -> bool:
        """Tell whether more would be over the bounds; a line in which nobody stands takes any batch."""
        return self.rows > 0 and (self.rows + rows > most_rows or self.size_bytes + size_bytes > most_bytes)

    def patience_s(self) -> float:
        """Return about how long the line needs."""
        commits = 1 + self.rows / _MOST_TOGETHER_ROWS + len(self.waiting) / _MOST_TOGETHER
        return self.commit_s * commits

    def take(self) -> list[_Waiting]:
        """Take those whom one commit serves."""
        taken = [self.waiting.popleft()]
        rows = taken[0].rows
        while self.waiting and len(taken) < _MOST_TOGETHER and rows + self.waiting[0].rows <= _MOST_TOGETHER_ROWS:
            taken.append(self.waiting.popleft())
            rows += taken[-1].rows
        return taken


class IngestDoor:
    """Take rows for the datasets of one server whose source is ``lw.push()``.

    Args:
        lake: Where rows go.
        datasets: Those that take rows, by name.
        executor: Runs the commits; datasets commit side by side where it has threads for it.
        max_waiting_rows: Rows that may wait for one dataset.
        max_waiting_bytes: Bytes of bodies that may wait for one dataset.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        datasets: Mapping[str, Dataset],
        executor: Executor,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._lake = lake
        self._lines = {name: _Line(dataset) for name, dataset in datasets.items()}
        self._executor = executor
        self._max_waiting_rows = max_waiting_rows
        self._max_waiting_bytes = max_waiting_bytes

    async def receive(
        self, name: str, body: bytes, *, content_type: str | None = None, batch_id: str | None = None
    ) -> HttpResponse:
        """Push the rows of a body; 200 means that they are stored, or in the quarantine with their reasons.

        Args:
            name: The dataset, from the path.
            body: See :func:`loopwright.serving.bodies.pushed_body.read_batch`.
            content_type: What the body is; JSON by default.
            batch_id: What identifies the batch when it is repeated, where the body does not say it. The same one again
                adds nothing and gives the same answer.

        Raises:
            NotFoundRequestError: When there is no such dataset, or it fetches its rows itself.
            InvalidRequestError: When the body holds no rows, or the contract stops them.
            TooLargeError: When there are more rows than one batch may have.
            OverloadedError: When too much waits already; nothing was stored.
            NotReadyError: When the stores cannot take them now; nothing was stored.
        """
        line = self._lines.get(name)
        if line is None:
            known = ", ".join(sorted(self._lines)) or "none"
            raise NotFoundRequestError(f"No dataset '{name[:200]}' takes rows here.", hint=f"Those that do: {known}.")
        batch, rows = read_batch(body, content_type, batch_id)
        if rows > MAX_ROWS:
            raise TooLargeError(f"There are {rows} rows; at most {MAX_ROWS} are accepted at once.")
        report = await self._stand(line, batch, rows, len(body))
        if isinstance(report, LoopwrightError):
            raise _for_caller(report)
        return json_response(
            {
                "dataset": name,
                "accepted": report.rows_accepted,
                "quarantined": report.rows_quarantined,
                "duplicate": report.rows_duplicate,
                "reasons": dict(report.reasons),
            }
        )

    async def _stand(
        self, line: _Line, batch: PushedBatch, rows: int, size_bytes: int
    ) -> IngestReport | LoopwrightError:
        if line.is_full_for(rows, size_bytes, self._max_waiting_rows, self._max_waiting_bytes):
            raise OverloadedError(
                f"{line.rows} rows wait for '{line.dataset.name}' already.",
                retry_after_s=line.patience_s(),
                hint="Send the batch again later; with the same batch_id it is stored once.",
            )
        loop = asyncio.get_running_loop()
        mine = _Waiting(batch, rows, size_bytes, loop.create_future())
        line.waiting.append(mine)
        line.rows += rows
        line.size_bytes += size_bytes
        if line.task is None or line.task.done():
            line.task = loop.create_task(self._serve(line))
        return await mine.answer

    async def _serve(self, line: _Line) -> None:
        """Commit for those who wait, until nobody does."""
        loop = asyncio.get_running_loop()
        while line.waiting:
            taken = line.take()
            began = loop.time()
            push = partial(self._lake.push_many, line.dataset, [one.batch for one in taken])
            answers: list[IngestReport | LoopwrightError]
            try:
                answers = await loop.run_in_executor(self._executor, push)
            except LoopwrightError as error:
                answers = [error] * len(taken)
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody is left waiting
                for one in taken:
                    _tell(one, error)
                answers = []
            line.commit_s += _SMOOTHING * (loop.time() - began - line.commit_s)
            line.rows -= sum(one.rows for one in taken)
            line.size_bytes -= sum(one.size_bytes for one in taken)
            for one, answer in zip(taken, answers, strict=False):
                _tell(one, answer)


def _tell(one: _Waiting, answer: IngestReport | Exception) -> None:
    if one.answer.done():  # the caller went away; the rows are stored all the same
        return
    if isinstance(answer, Exception) and not isinstance(answer, LoopwrightError):
        one.answer.set_exception(answer)
    else:
        one.answer.set_result(answer)


def _for_caller(error: LoopwrightError) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, (UsageError, SourceError, IngestStoppedError)):
        return InvalidRequestError(error.message, hint=error.hint)
    return NotReadyError(error.message, hint=error.hint)
