"""A request and its answer in the terms of no protocol: what every door gives the endpoint, and gets from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - msgspec reads the types of fields
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from loopwright.serving.predictor import Answers


class InferenceCall(msgspec.Struct, frozen=True):
    """A request in the terms of no protocol.

    Attributes:
        rows: Request fields by name.
        protocol: Name of the door, for the metrics.
        request_id: The caller's id of the request, or None.
        keys: The caller's key of each row, or None.
        unit: What sticks to a version in a canary; None for the only key, or the request's id.
        pinned: Version number asked for, or None.
        deadline: Moment on the monotonic clock after which no answer is wanted, or None.
        size_bytes: What the request weighs while it waits: the length of its body; 0 where nobody counted.
    """

    rows: Sequence[Mapping[str, object]]
    protocol: str
    request_id: str | None = None
    keys: Sequence[str | None] | None = None
    unit: str | None = None
    pinned: int | None = None
    deadline: float | None = None
    size_bytes: int = 0

    def unit_key(self, request_id: str) -> str:
        """Return what the assignment to a version sticks to: the unit, the key that all rows share, or the id."""
        if self.unit:
            return self.unit
        keys = self.keys
        if keys and (only := keys[0]) and all(key == only for key in keys):
            return only
        return request_id


class Served(msgspec.Struct, frozen=True):
    """An answer, with what its caller and the log call it."""

    model: str
    version: int
    route: str
    request_id: str
    prediction_ids: Sequence[str]
    answers: Answers
