"""The first request of a model that is not in memory: it waits for the load, for so long, and is told to come again.

Requests of one model wait for the same load. Nothing here is on the way of a server without a memory budget.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from loopwright.core.errors import NotReadyError
from loopwright.serving.models.served_models import VersionRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from loopwright.core.clock import Clock
    from loopwright.serving.guard import Guard
    from loopwright.serving.http.message import HttpRequest
    from loopwright.serving.models.served_models import ServedModels

RETRY_S = 1.0


class FirstRequests:
    """Bring up models as they are asked; used from one event loop.

    Args:
        models: The versions of this process.
        names: The served models.
        wait_s: Seconds that a request waits for its model.
        guard: Says whether a caller may ask: one who may not brings nothing up.
        clock: For who was asked the longest ago.
    """

    def __init__(
        self, models: ServedModels, names: Collection[str], *, wait_s: float, guard: Guard, clock: Clock
    ) -> None:
        self._models = models
        self._names = frozenset(names)
        self._wait_s = wait_s
        self._guard = guard
        self._clock = clock
        self._loads: dict[str, asyncio.Future[None]] = {}
        self._executor = ThreadPoolExecutor(1, "loopwright-first")

    def asked(self, path: str) -> str | None:
        """Note which model a path asks; return it when it has to be brought up first."""
        for part in path.split("/"):
            model = part.partition(":")[0]
            if model in self._names:
                self._models.residency.used(model, self._clock.monotonic())
                return model if self._models.is_unloaded(model) else None
        return None

    async def bring_up(self, model: str, request: HttpRequest) -> None:
        """Wait until a model is in memory.

        Raises:
            UnauthorizedRequestError: When the caller may not ask.
            ForbiddenRequestError: When the caller's role does not include it.
            NotReadyError: When it takes longer than a request waits, or cannot be loaded.
        """
        self._guard.check(request)
        load = self._loads.get(model)
        if load is None:
            loop = asyncio.get_running_loop()
            load = self._loads[model] = loop.run_in_executor(self._executor, self._models.load, model)
            load.add_done_callback(lambda _: self._loads.pop(model, None))
        try:
            await asyncio.wait_for(asyncio.shield(load), self._wait_s)
        except TimeoutError:
            raise NotReadyError(
                f"The model '{model}' is being loaded.", hint="Try again in a moment.", retry_after_s=RETRY_S
            ) from None
        except VersionRefusedError as error:
            raise NotReadyError(f"The model '{model}' cannot be loaded: {error.message}", hint=error.hint) from None

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)
