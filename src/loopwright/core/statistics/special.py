"""SciPy's special functions (`scipy.special`), imported when the first of them is asked for.

They take a tenth of a second to import, and much that names them never calls one: a server, the start of a command.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - SciPy has no types
    from scipy import special  # noqa: PLC0415 - what this module is for

    found = getattr(special, name)
    globals()[name] = found
    return found
