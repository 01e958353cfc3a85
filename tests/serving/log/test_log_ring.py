from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loopwright.serving.log.log_ring import LogRing, LogRoom


def test_logs_share_their_room():
    room = LogRoom(rows=10, size_bytes=1_000)
    one, other = LogRing(room), LogRing(room)
    assert one.put(b"a" * 100, 6, at=0.0)
    assert not other.put(b"b" * 100, 6, at=0.0)
    assert other.put(b"b" * 100, 4, at=0.0)
    assert one.clear() == 6
    assert room.free_rows == 6


def test_bytes_are_bounded_too():
    ring = LogRing(LogRoom(rows=10, size_bytes=100))
    assert ring.put(b"a" * 100, 1, at=0.0)
    assert not ring.put(b"b", 1, at=0.0)
    assert ring.room.free_rows == 0


def test_what_is_larger_than_the_room_waits_alone():
    ring = LogRing(LogRoom(rows=10))
    assert ring.put(b"a", 50, at=0.0)
    assert not ring.put(b"b", 1, at=0.0)
    assert ring.put(b"b", 1, at=0.0, force=True)
    assert ring.room.free_rows == -41


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 40)), max_size=20), st.integers(1, 100), st.booleans())
def test_groups_come_in_order_and_give_their_room_back(writes, group_bytes, puts_back):
    ring = LogRing(LogRoom())
    for number, (rows, size) in enumerate(writes):
        assert ring.put(bytes([number]) * size, rows, at=float(number))
    seen = []
    while group := ring.take(group_bytes):
        assert sum(len(one.payload) for one in group[:-1]) < group_bytes
        if puts_back:
            ring.put_back(group)
            assert ring.take(group_bytes) == group
        seen += [one.payload[0] for one in group]
        ring.done(group)
    assert seen == list(range(len(writes)))
    assert (ring.rows, ring.waiting_bytes, ring.room.free_rows) == (0, 0, LogRoom().free_rows)
