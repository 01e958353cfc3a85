"""Versions replaced under load, in all workers at once: is an answer ever lost, wrong or late?

    python bench/swaps.py [--rate 1000] [--swaps 20]

The server of the tests (``tests/serving/nonce_server.py``) with 2 workers: a version answers ``x + 1000 * version``, so
that each answer shows which version computed it. The clients ask about ``--rate`` requests a second on 16 connections;
before the swaps for 3 s, to know the latency that is usual. Every second swap goes back to the version before, as a
rollback does. Printed are failures, answers by another version than they name, the skew between the workers' commits,
seconds from a change of the target to the first answer of the new version, seconds until no answer comes from the old
one any more, and the latency before and during the swaps. The target is looked at every 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving_load import machine
from workers import Clients, Group

SETTLES_S = 0.3  # after the first answer of the new version


async def swaps(rate: float, count: int) -> None:
    """Swap back and forth."""
    server = Group(workers=2)
    clients = Clients(server.port, 16, rate=rate)
    await asyncio.sleep(3)
    usual = sorted(seconds for _, _, seconds in clients.recent)
    skews, forward, back, last = [], [], [], []
    began, answered = time.monotonic(), clients.answered
    for number in range(count):
        version = 1 if number % 2 else number + 2
        before = clients.recent[-1][1]
        changed = time.monotonic()
        server.target(version)
        while clients.recent[-1][1] != version:  # noqa: ASYNC110 - what is watched are the answers
            await asyncio.sleep(0.002)
        await asyncio.sleep(SETTLES_S)
        since = [(at, seen) for at, seen, _ in clients.recent if at > changed]
        (back if version == 1 else forward).append(next(at for at, seen in since if seen == version) - changed)
        last.append(max((at for at, seen in since if seen == before), default=changed) - changed)
        skews.append(1000 * await asyncio.to_thread(server.metric, "loopwright_promotion_skew_seconds"))
    reached = (clients.answered - answered) / (time.monotonic() - began)
    during = sorted(seconds for at, _, seconds in clients.recent if at > began)
    await clients.stop()
    server.stop()
    print(
        f"{count} swaps at {reached:.0f} requests/s: {clients.failed} failed, {clients.wrong} wrong of"
        f" {clients.answered}; skew median {statistics.median(skews):.2f} ms, most {max(skews):.2f} ms"
    )
    for said, delays in (("promotion", forward), ("rollback", back)):
        print(
            f"  {said}: to the first answer median {1000 * statistics.median(delays):.0f} ms,"
            f" most {1000 * max(delays):.0f} ms"
        )
    print(f"  last answer of the version before: most {1000 * max(last):.0f} ms after the change")
    for said, times in (("before", usual), ("during the swaps", during)):
        half, tail = (1000 * times[int(share * len(times))] for share in (0.5, 0.99))
        print(f"  latency {said}: p50 {half:.2f} ms, p99 {tail:.2f} ms (this client's loop included)")
    print(machine())


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--swaps", type=int, default=20)
    options = parser.parse_args()
    asyncio.run(swaps(options.rate, options.swaps))


if __name__ == "__main__":
    main()
