from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from loopwright.monitoring.outcome_event import label_json, outcome_event, read_outcome

SENT = datetime(2026, 1, 1, tzinfo=UTC)


def test_missing_labels_are_none():
    assert label_json(float("nan")) is None
    assert label_json(None) is None
    assert label_json(np.int64(3)) == "3"


@pytest.mark.parametrize("at", [None, SENT - timedelta(hours=1), SENT.astimezone(timezone(timedelta(hours=2)))])
def test_an_event_comes_back_as_it_was_sent(at):
    event = outcome_event("p1", "käse", at)
    assert event.key == "p1"
    assert read_outcome(event.value, SENT) == (label_json("käse"), at or SENT)


@pytest.mark.parametrize("value", [b"", b"[]", b"3", b'{"label": "1", "at": "yesterday"}', b"\xff"])
def test_what_is_no_outcome_has_no_label(value):
    assert read_outcome(value, SENT) == (None, SENT)
