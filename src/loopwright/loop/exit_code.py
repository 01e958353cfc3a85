"""The end of a process that the loop starts: what went wrong on standard error, and its exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from loopwright.core.errors import LoopwrightError

if TYPE_CHECKING:
    from collections.abc import Callable


def exit_code_of(work: Callable[[], object]) -> int:
    """Do a process's work and return its exit code: 0, or that of the error that ended it, which is shown."""
    try:
        work()
    except LoopwrightError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    return 0
