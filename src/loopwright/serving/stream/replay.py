"""Giving dead letters back to their topic after a fix, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.storage.exchange import ExchangePlan, Made
from loopwright.core.storage.exchanges import open_exchange
from loopwright.core.storage.file_lock import FileLock
from loopwright.serving.stream.dead_letter import event_again
from loopwright.serving.stream.standing import replayer_of, stream_folder

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.serving.stream.declaration import StreamDeployment

_AT_ONCE = 500
_MAX_BYTES = 8_000_000
_LAST_LOOK_S = 2.0  # how long the end of the dead letters is waited for


def replay(stores: Stores, model: str, deployed: StreamDeployment) -> int:
    """Append every dead letter that was not replayed to the stream's topic again, and return how many.

    An event goes back with its key, value and headers, behind what came meanwhile, and is answered like any other; what
    fails again becomes a dead letter again. Each goes back once: the place among the dead letters moves in the
    transaction that appends them. Those that arrive while it works are left for the next replay.
    """
    plan = ExchangePlan(
        replayer_of(model), source=deployed.dead_letter, target=deployed.topic, dead=f"{deployed.dead_letter}.unused"
    )
    with FileLock(stream_folder(stores.local) / f"{model}.replay.lock").hold():
        exchange = open_exchange(stores.settings.stream_url, plan, clock=stores.clock)
        try:
            left = exchange.lag()
            count = 0
            while count < left:
                taken = exchange.take(limit=min(_AT_ONCE, left - count), max_bytes=_MAX_BYTES, wait_s=_LAST_LOOK_S)
                if not taken:
                    break
                made = [Made(event_again(one.key, one.value, one.headers), is_dead=False) for one in taken]
                exchange.put(taken, made)
                count += len(taken)
        finally:
            exchange.close()
    return count
