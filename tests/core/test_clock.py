from datetime import UTC, datetime, timedelta

import pytest

from loopwright.core.clock import Clock, ManualClock, SystemClock


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.now()
    clock.sleep(2.5)
    clock.advance(timedelta(hours=1))
    assert clock.now() - before == timedelta(hours=1, seconds=2.5)
    assert clock.monotonic() == 3602.5


def test_manual_clock_refuses_to_go_back_and_naive_starts() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock(datetime(2026, 1, 1, tzinfo=UTC)).advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the fault under test


def test_both_clocks_fit_the_port() -> None:
    assert isinstance(SystemClock(), Clock)
    assert isinstance(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Clock)
    assert SystemClock().now().tzinfo is UTC
