"""Workers as actors of a Ray cluster: ``ray://host:port``, or ``ray://local?workers=2`` for one on this machine.

Ray is imported here only. The nodes need this package, and the same project folder and stores as this machine: workers
open them by the settings they are handed.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from loopwright.core.compute import MOST_ATTEMPTS, Failure, TaskEnd, Work, opened
from loopwright.core.errors import FailedError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCAL = "local"
_OBJECT_STORE_BYTES = 80 << 20  # results are counts, not rows


class RemoteWorker:
    """What runs in an actor: makes the work once, does one task at a time, and tells errors in words."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._do: Any = None

    def begin(self) -> Failure | None:
        """Open what the work needs; return why that is not possible."""
        try:
            self._do = opened(self._work)
        except Exception as error:  # noqa: BLE001 - told to the caller
            return Failure.of(error)
        return None

    def do(self, task: object) -> tuple[object, Failure | None]:
        """Do one task."""
        try:
            return self._do(task), None
        except Exception as error:  # noqa: BLE001 - told to the caller
            return None, Failure.of(error)


class RayCompute:
    """Actors of a cluster, one task each at a time; begun with each run and ended with it.

    Args:
        address: ``host:port`` of a cluster's client server; ``local`` for a cluster of this process.
        workers: How many actors; by default as many as the cluster has cores.

    Raises:
        MissingExtraError: If Ray is not installed.
        FailedError: If the cluster does not answer.
    """

    def __init__(self, address: str, workers: int | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what runs here
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray  # noqa: PLC0415 - an extra, and two seconds to import
        except ModuleNotFoundError as error:
            raise MissingExtraError(str(error.name), extra="ray") from error
        self._ray: Any = ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == LOCAL:
            options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
            options |= {"num_cpus": workers, "_node_ip_address": "127.0.0.1"}
        else:
            options["address"] = f"ray://{address}"
        try:
            self._ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise FailedError(
                f"The Ray cluster {address} cannot be used: {str(error).splitlines()[0]}",
                hint="Check [compute] url in loopwright.toml, and that the cluster runs the same versions of Python "
                "and Ray.",
            ) from error
        self._workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    @property
    def workers(self) -> int:
        """Return how many tasks are done at once."""
        return self._workers

    def run(self, work: Work, tasks: Sequence[object]) -> Iterator[TaskEnd]:
        """Do all tasks; see the port."""
        ray = self._ray
        made = ray.remote(num_cpus=1, max_restarts=0)(RemoteWorker)
        waiting = deque((number, 1) for number in range(len(tasks)))
        actors: list[Any] = []
        busy: dict[Any, tuple[Any, int, int]] = {}  # a result to come: the actor, the task, the attempt
        beginning: dict[Any, Any] = {}  # the answer to `begin` to come: the actor
        idle: list[Any] = []
        stillborn = 0
        try:
            while waiting or busy:
                while waiting and idle:
                    actor = idle.pop()
                    number, attempt = waiting.popleft()
                    busy[actor.do.remote(tasks[number])] = (actor, number, attempt)
                while len(actors) < min(self._workers, len(waiting) + len(busy)):
                    actors.append(made.remote(work))
                    beginning[actors[-1].begin.remote()] = actors[-1]
                (ready, *_), _ = ray.wait([*busy, *beginning], num_returns=1)
                if ready in beginning:
                    actor = beginning.pop(ready)
                    try:
                        refused = cast("Failure | None", ray.get(ready))
                    except ray.exceptions.RayActorError as error:
                        actors.remove(actor)
                        stillborn += 1
                        if stillborn >= MOST_ATTEMPTS:
                            raise FailedError(f"{stillborn} workers in a row ended as they began.") from error
                        continue
                    if refused is not None:
                        raise FailedError(f"A worker could not begin: {refused.message}", hint=refused.hint)
                    idle.append(actor)
                    continue
                actor, number, attempt = busy.pop(ready)
                try:
                    value, failure = ray.get(ready)
                except ray.exceptions.RayActorError:
                    actors.remove(actor)
                    if attempt < MOST_ATTEMPTS:
                        waiting.appendleft((number, attempt + 1))
                        continue
                    message = f"{attempt} workers in a row died at this task."
                    yield TaskEnd(number, failure=Failure("WorkerDied", message), attempts=attempt)
                    continue
                stillborn = 0
                idle.append(actor)
                yield TaskEnd(number, value, failure, attempt)
        finally:
            for actor in actors:
                ray.kill(actor)

    def close(self) -> None:
        """Leave the cluster; one that was begun here ends."""
        self._ray.shutdown()
