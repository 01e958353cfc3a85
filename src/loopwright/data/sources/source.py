"""Where a dataset's rows come from: the description that every source gives of itself.

A source is a declaration. It opens nothing when it is made; a reader (:mod:`loopwright.data.sources.reader`) reads what
it describes. The description is plain JSON, so that whoever only wants to know "is there anything new?" can list it
again (:mod:`loopwright.data.sources.listing`) without importing the user's project.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Source(Protocol):
    """What a dataset reads. Adapters: ``files``, ``push``, ``frame``."""

    @property
    def kind(self) -> str:
        """The word that selects the reader, such as ``files``."""

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value, with ``kind`` and without secrets."""
