"""What an export is made for: one machine, a cluster, or a cloud's machines."""

from __future__ import annotations

from typing import Literal, get_args

Target = Literal["compose", "kubernetes", "terraform"]
TARGETS: tuple[Target, ...] = get_args(Target)
