"""The source ``push``: rows that are handed over, by Python or over HTTP, instead of being fetched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PushSource:
    """Rows come by ``Lake.push``; an ingest has nothing to fetch."""

    @property
    def kind(self) -> str:
        """``push``."""
        return "push"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"kind": "push"}


def push() -> PushSource:
    """Declare that rows are handed over, batch by batch; each batch is durable before the call returns."""
    return PushSource()
