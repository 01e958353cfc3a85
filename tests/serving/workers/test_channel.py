from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.serving.models.messages import Beat, Collected, FromWorker, Hello, Prepared
from loopwright.serving.workers.channel import Channel, ChannelClosedError, channel_pair


@pytest.fixture
def ends():
    ours, theirs = channel_pair()
    ends = Channel(ours, FromWorker), Channel(theirs, FromWorker)
    yield ends
    for end in ends:
        end.close()


@given(st.lists(st.binary(max_size=400_000), max_size=6))
def test_messages_arrive_whole_and_in_order_however_large(contents):
    ours, theirs = channel_pair()
    sender, receiver = Channel(ours, FromWorker), Channel(theirs, FromWorker)
    sent = [Collected(number, content) for number, content in enumerate(contents)]
    for message in sent:
        sender.send(message)
    arrived = []
    while len(arrived) < len(sent):
        sender.flush()
        arrived += receiver.receive()
    assert arrived == sent
    assert not sender.is_waiting
    sender.close()
    receiver.close()


def test_sending_never_waits_for_a_reader(ends):
    sender, receiver = ends
    for number in range(200):
        sender.send(Collected(number, bytes(10_000)))
    assert sender.is_waiting
    numbers = []
    while len(numbers) < 200:
        numbers += [message.number for message in receiver.receive()]
        sender.flush()
    assert numbers == list(range(200))


def test_the_end_is_told_after_the_last_words(ends):
    sender, receiver = ends
    sender.send(Hello())
    sender.send(Prepared(3, "m/1", "broken"))
    sender.close()
    assert receiver.receive() == [Hello(), Prepared(3, "m/1", "broken")]
    with pytest.raises(ChannelClosedError):
        receiver.receive()
    receiver.send(Beat(0.0, ready=True))
    assert not receiver.is_waiting, "nothing is kept for somebody who is gone"
