"""Amounts as the tools of containers write them, rounded so that what was planned is never undercut."""

from __future__ import annotations

import math
import re

MIB = 2**20


def cpu(cores: float) -> str:
    """Return cores as Kubernetes writes them, in thousandths.

    >>> cpu(3.6)
    '3600m'
    """
    return f"{max(1, math.ceil(round(cores * 1000, 6)))}m"


def memory(size_bytes: float) -> str:
    """Return bytes as Kubernetes writes them, in 2^20.

    >>> memory(1e9)
    '954Mi'
    """
    return f"{max(1, math.ceil(size_bytes / MIB))}Mi"


def value(number: float) -> str:
    """Return a metric's value as Kubernetes writes it, in thousandths.

    >>> value(0.812)
    '812m'
    """
    return f"{max(1, round(number * 1000))}m"


def slug(text: str, *, longest: int = 40) -> str:
    """Return a name that everything accepts: lower-case letters, digits and ``-``, a letter first.

    >>> slug("Image classification, v2")
    'image-classification-v2'
    """
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not found or not found[0].isalpha():
        found = f"p-{found}".strip("-")
    return found[:longest].strip("-")
