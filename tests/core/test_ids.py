import uuid
from datetime import UTC, datetime

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy


def test_ids_are_uuid7_and_sort_in_the_order_they_were_made() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    ids = Ids(clock)
    made = []
    for number in range(10_000):
        if number % 100 == 0:
            clock.advance(0.001)
        made.append(ids.new())
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    parsed = [uuid.UUID(text) for text in made]
    assert {one.version for one in parsed} == {7}
    assert {one.variant for one in parsed} == {uuid.RFC_4122}


def test_the_time_part_is_the_clock() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    first = uuid.UUID(Ids(ManualClock(start)).new())
    assert first.int >> 80 == int(start.timestamp() * 1000)


def test_a_seed_repeats() -> None:
    def made() -> list[str]:
        ids = Ids(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), seeded_entropy(3))
        return [ids.new() for _ in range(5)]

    assert made() == made()
