"""The name of a thing in the lineage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Ref:
    """The name of one thing: ``snapshot:orders@3``, ``run:0192…``, ``model:eta/3``.

    >>> str(Ref("model", "eta/3")), Ref.parse("snapshot:orders@3").id
    ('model:eta/3', 'orders@3')
    """

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read a ref as ``str`` wrote it.

        Raises:
            ValueError: If there is no colon.
        """
        kind, colon, identity = text.partition(":")
        if not (kind and colon and identity):
            raise ValueError(f"a ref is 'kind:id', got {text!r}")
        return cls(kind, identity)
