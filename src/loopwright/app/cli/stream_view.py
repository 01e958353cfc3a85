"""How a stream is shown in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.serving.stream.standing import StreamStanding


def in_words(stream: StreamStanding) -> str:
    """Return lag, rate, delay and dead letters in one line."""
    state = stream.state
    lag = "lag unknown" if stream.lag is None else f"{stream.lag:,} behind"
    dead = f"{stream.dead_letters:,} dead letters" if stream.dead_letters else "no dead letters"
    if state is None:
        return f"not running, {lag}, {dead}"
    rate = f"{state.per_second:,.0f} events/s"
    delay = "" if state.delay_ms is None else f", {state.delay_ms:,.0f} ms from event to answer"
    waits = "" if state.waiting_for is None else f"; waits for {state.waiting_for}"
    return f"{lag}, {rate}{delay}, {dead}{waits}"
