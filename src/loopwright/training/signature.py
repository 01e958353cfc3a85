"""How a training function is called: ``f(train)``, ``f(train, params)`` or ``f(train, params, seed)``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable

EXTRAS = ("params", "seed")
"""What a training function may ask for, by name, after the training set."""


def extras_of(function: Callable[..., object]) -> tuple[str, ...]:
    """Return which of ``params`` and ``seed`` a training function takes.

    The first argument is the training set, whatever its name; the others are known by name.

    Raises:
        DeclarationError: The function cannot be called that way.

    >>> extras_of(lambda train, params: None)
    ('params',)
    """
    if not callable(function):
        raise DeclarationError(f"a training function is a function, got {type(function).__name__}.")
    name = getattr(function, "__name__", repr(function))
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())
    extras = tuple(parameter.name for parameter in parameters[1:])
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    fits = (
        bool(parameters)
        and parameters[0].kind in positional
        and all(parameter.name in EXTRAS and parameter.kind in by_name for parameter in parameters[1:])
    )
    if not fits:
        raise DeclarationError(
            f"the training function {name}{inspect.signature(function)} has arguments that nobody fills.",
            hint=f"Write def {name}(train), def {name}(train, params) or def {name}(train, params, seed).",
        )
    return extras
