"""Makes score jobs, carries them out over workers, and goes on with those that died.

A job is on record before anything is read (*preparing*), its parts before any is scored (*running*), and each part when
it is committed. A process killed anywhere leaves what the same request, made again, goes on from: what was committed
is not done again, and what was half done is done again to the same rows under the same transaction.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.compute import Work
from loopwright.core.computes import open_compute
from loopwright.core.errors import FailedError, SourceError, UnknownNameError, UsageError
from loopwright.core.ref import Ref
from loopwright.core.storage.file_lock import FileLock
from loopwright.registry.registry import Registry
from loopwright.serving.scoring.answers import check_names
from loopwright.serving.scoring.job import Layout, ScoreJob
from loopwright.serving.scoring.job_store import JobStore
from loopwright.serving.scoring.part_scoring import ENTRY, ScoreSetup
from loopwright.serving.scoring.partition import plan_parts
from loopwright.serving.scoring.preparing import Preparing
from loopwright.serving.scoring.writing import writer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from loopwright.core.compute import Compute
    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.registry.package import LoadedModel
    from loopwright.serving.scoring.job import PartCounts, ScoreRequest
    from loopwright.serving.scoring.preparing import Prepared

LATEST, CHAMPION = "latest", "champion"


@dataclass(frozen=True)
class ScoreProgress:
    """How far a job is.

    Attributes:
        job: The job; its counts are those of all its runs.
        resumed: Whether an earlier process began it.
        nothing_new: Whether it was done before, and nothing had to be done.
    """

    job: ScoreJob
    resumed: bool = False
    nothing_new: bool = False


class Scorer:
    """Scores rows in jobs.

    Args:
        stores: The stores.
        lake: The datasets.
        compute: The workers; by default those that the settings name, opened when a job needs them.
        workers: How many, whatever the settings say.
        entry: What workers begin with.
        on_stage: Told what was just done: ``opened``, ``prepared``, ``planned``, ``part``, ``finished``.
    """

    def __init__(
        self,
        stores: Stores,
        lake: Lake,
        *,
        compute: Compute | None = None,
        workers: int | None = None,
        entry: str = ENTRY,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._stores = stores
        self._lake = lake
        self._compute = compute
        self._workers = workers
        self._entry = entry
        self._on_stage = on_stage
        self._registry = Registry(stores)
        self.jobs = JobStore(stores)

    def score(
        self,
        request: ScoreRequest,
        *,
        again: bool = False,
        on_progress: Callable[[ScoreProgress], None] = lambda _: None,
    ) -> ScoreProgress:
        """Score what is asked for, or go on where a killed process left it, and return the job when it is done.

        Args:
            request: What to score.
            again: Score it even if the same rows were scored by the same version before; the answers are there twice
                then, under two jobs.
            on_progress: Told when the parts are known, and after each part.

        Raises:
            UnknownNameError: If there is no such model, dataset or column.
            SourceError: If there are no rows, or they cannot be read.
            UsageError: If the destination holds something else, or the rows lack what the model needs.
            FailedError: If parts could not be scored; the others are kept, and the same request goes on with these.
        """
        self._sweep()
        job = self.jobs.unfinished(request.digest)
        resumed = job is not None
        loaded = None
        if job is None:
            version = self._registry.get(request.model, LATEST if "/" in request.model else CHAMPION)
            loaded = self._registry.load(version)
            content, snapshots = self._preparing(loaded).content(request.source)
            found = self.jobs.finished(request.digest, version=version.version, content=content)
            if found is not None and content and not again:
                return ScoreProgress(found, nothing_new=True)
            job = self.jobs.open(
                ScoreJob(
                    id=self._stores.ids.new(),
                    model=version.model,
                    version=version.version,
                    request=request.describe(),
                    request_digest=request.digest,
                    content=content,
                    state="preparing",
                    at=self._stores.clock.now(),
                    snapshots=snapshots,
                )
            )
            self._on_stage("opened")
        with self._alone(job):
            job = self.jobs.get(job.id)
            if job.state == "preparing":
                loaded = loaded or self._registry.load(self._registry.get(job.model, job.version))
                try:
                    planned = self._prepare(job, request, loaded, again=again)
                except (UsageError, SourceError):
                    self._drop(job)
                    raise
                if planned.nothing_new:
                    return planned
                job = planned.job
            if job.state == "running":
                job = self._run(job, request, resumed=resumed, on_progress=on_progress)
        return ScoreProgress(job, resumed)

    def _prepare(self, job: ScoreJob, request: ScoreRequest, loaded: LoadedModel, *, again: bool) -> ScoreProgress:
        """Bring the rows where workers read them, and put the parts on record."""
        folder = self._folder(job)
        shutil.rmtree(folder, ignore_errors=True)
        preparing = self._preparing(loaded)
        prepared = preparing.rows(job, request.source, folder)
        self._on_stage("prepared")
        before = self.jobs.finished(request.digest, version=job.version, content=prepared.content)
        if before is not None and not again:
            self._drop(job)
            return ScoreProgress(before, nothing_new=True)
        parts = plan_parts(prepared.files, request.part_rows)
        if not parts:
            raise SourceError(f"There are no rows in {request.source}.", hint="Score it when it has some.")
        layout = _layout(request, loaded, prepared)
        writer_of(request.destination, self._stores.tables).begin(job)
        refs = [Ref("snapshot", f"{name}@{version}") for name, version in job.snapshots.items()]
        refs.append(Ref("model", job.version_id))
        planned = self.jobs.planned(job, layout=layout, content=prepared.content, parts=parts, refs=refs)
        self._on_stage("planned")
        return ScoreProgress(planned)

    def _run(
        self,
        job: ScoreJob,
        request: ScoreRequest,
        *,
        resumed: bool,
        on_progress: Callable[[ScoreProgress], None],
    ) -> ScoreJob:
        todo = self.jobs.parts(job, done=False)
        on_progress(ScoreProgress(job, resumed))
        failures = []
        if todo:
            compute = self._compute or open_compute(self._stores.settings.compute_url, workers=self._workers)
            try:
                for end in compute.run(Work(self._entry, ScoreSetup(self._stores.settings, job)), todo):
                    if end.failure is not None:
                        failures.append((todo[end.number], end.failure))
                        continue
                    counts: PartCounts = end.value  # type: ignore[assignment]
                    self.jobs.committed(job, todo[end.number].number, counts)
                    self._on_stage("part")
                    on_progress(ScoreProgress(self.jobs.get(job.id), resumed))
            finally:
                if self._compute is None:
                    compute.close()
        if failures:
            part, failure = failures[0]
            last = part.first_row + part.rows - 1
            raise FailedError(
                f"{len(failures)} of {job.parts} parts of score job {job.id} failed; the first one, rows "
                f"{part.first_row} to {last}: {failure.message}",
                hint=failure.hint or "What was scored is kept; the same command goes on with the rest.",
            )
        writer = writer_of(request.destination, self._stores.tables)
        writer.finish(job, self.jobs.parts(job, done=True), self.jobs.counts(job))
        done = self.jobs.finish(job, self._stores.clock.now(), {})
        self._on_stage("finished")
        shutil.rmtree(self._folder(job), ignore_errors=True)
        return done

    def _preparing(self, loaded: LoadedModel) -> Preparing:
        uses_views = any(one.origin == "view" for one in loaded.assembly.fields)
        return Preparing(self._stores, self._lake, loaded.definition(), uses_views)

    def cancel(self, job: ScoreJob) -> ScoreJob:
        """Give up a job that is not done; what it committed stays.

        Raises:
            FailedError: If a process is carrying it out.
        """
        with self._alone(job):
            cancelled = self.jobs.cancel(job, self._stores.clock.now())
            shutil.rmtree(self._folder(job), ignore_errors=True)
        return cancelled

    def _sweep(self) -> None:
        """Delete prepared rows of jobs that ended in the moment before they would have been."""
        open_jobs = self.jobs.open_ids()
        for folder in (self._stores.local / "scoring").glob("*-*-*-*-*"):
            if folder.name not in open_jobs:
                shutil.rmtree(folder, ignore_errors=True)

    def _alone(self, job: ScoreJob) -> AbstractContextManager[None]:
        lock = FileLock(self._stores.local / "scoring" / "locks" / job.id)
        return lock.hold(refusal=lambda pid: _taken(job, pid))

    def _drop(self, job: ScoreJob) -> None:
        self.jobs.forget(job)
        shutil.rmtree(self._folder(job), ignore_errors=True)

    def _folder(self, job: ScoreJob) -> Path:
        return self._stores.local / "scoring" / job.id


def _taken(job: ScoreJob, pid: str) -> FailedError:
    return FailedError(
        f"Score job {job.id} is being carried out by process {pid}.", hint="Wait for it; see: loopwright score list"
    )


def _layout(request: ScoreRequest, loaded: LoadedModel, prepared: Prepared) -> Layout:
    """Say which columns are read, and refuse rows that cannot have an answer.

    Raises:
        UnknownNameError: If a column that is asked for is not there.
        UsageError: If all rows lack a field that the model needs.
    """
    names = sorted(prepared.names)
    where = f"in {request.source}"
    for name in (*request.key, *request.columns):
        if name not in prepared.names:
            raise UnknownNameError("column", name, names, where=where)
    lacking = [one.name for one in loaded.assembly.inputs if one.required and one.name not in prepared.names]
    if lacking:
        raise UsageError(
            f"{request.source} lacks {', '.join(lacking[:10])}, which {loaded.version.id} needs.",
            hint=f"It has: {', '.join(names[:20])}.",
        )
    layout = Layout(
        inputs=tuple(one.name for one in loaded.assembly.inputs if one.name in prepared.names),
        key=request.key or tuple(prepared.key),
        event_time=prepared.event_time,
        columns=request.columns,
        stored=prepared.stored,
        joined=prepared.joined,
    )
    check_names(layout.handed_on)
    return layout
