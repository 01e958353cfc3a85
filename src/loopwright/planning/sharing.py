"""Whether a GPU can be shared, and what is paid then.

MIG cuts a card into isolated slices, on the large cards only; a slice of a compute-bound model takes as many times
longer as it is smaller. MPS and time slices share without isolating memory. A share costs a share only where somebody
buys the rest; else the whole card is paid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MIG_CARDS = ("A100", "A100-80GB", "H100", "H200", "B200", "A30")
MIG_SLICES = 7
MEMORY_SHARE = 0.9
MOST_LOAD = 0.7


def can_mig(accelerator: str) -> bool:
    """Return whether a card can be cut into isolated slices.

    >>> can_mig("A100-80GB"), can_mig("T4")
    (True, False)
    """
    return accelerator in MIG_CARDS


def slice_seconds(whole_s: float, slices: int) -> float:
    """Return how long a compute-bound model takes on some of the seven slices.

    >>> round(slice_seconds(0.003, 2), 4)
    0.0105
    """
    return whole_s * MIG_SLICES / slices


def can_mps(memory_bytes: Sequence[float], loads: Sequence[float], card_bytes: float) -> str | None:
    """Return why models may not share a card without isolation; None where they may.

    >>> can_mps([4e9, 4e9], [0.2, 0.3], 16e9) is None
    True
    >>> can_mps([4e9, 4e9], [0.5, 0.3], 16e9)
    'together they keep the card 80% busy, and 70% is the most'
    """
    if sum(memory_bytes) > MEMORY_SHARE * card_bytes:
        return f"they take {sum(memory_bytes) / 1e9:.1f} GB, and the card leaves {MEMORY_SHARE * card_bytes / 1e9:.1f}"
    if sum(loads) > MOST_LOAD:
        return f"together they keep the card {sum(loads):.0%} busy, and {MOST_LOAD:.0%} is the most"
    return None


def shared_seconds(alone_s: float, others: int, interference: float = 0.15) -> float:
    """Return the service time next to other models: s (1 + interference · others).

    >>> round(shared_seconds(0.01, 2), 4)
    0.013
    """
    return alone_s * (1 + interference * others)
