"""The parameters that a training function gets: an immutable mapping with attribute access."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from loopwright.core.errors import DeclarationError


class Params(Mapping[str, Any]):
    """Named parameter values, read by key, by attribute, or unpacked with ``**``.

    A name that is also a method of a mapping (``keys``, ``values``, ``items``, ``get``) is read by key.

    Raises:
        DeclarationError: A name is no Python identifier, or a value is no plain JSON value.

    >>> params = Params({"learning_rate": 0.1, "max_depth": 3})
    >>> params.learning_rate, params["max_depth"], dict(**params)
    (0.1, 3, {'learning_rate': 0.1, 'max_depth': 3})
    """

    __slots__ = ("_values",)
    _values: dict[str, Any]

    def __init__(self, values: Mapping[str, Any] | None = None, /, **more: object) -> None:
        merged: dict[str, Any] = {**(values or {}), **more}
        for name, value in merged.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise DeclarationError(
                    f"the parameter name {name!r} is no Python identifier.", hint="Use letters, digits and underscores."
                )
            merged[name] = _plain(name, value)
        object.__setattr__(self, "_values", merged)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a parameter is of any plain type
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a parameter is of any plain type
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            close = difflib.get_close_matches(name, self._values, n=1)
            more = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(self._values) or 'none'}"
            raise AttributeError(f"no parameter {name!r}{more}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"parameters are immutable: use params.replace({name}={value!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"parameters are immutable: cannot delete {name!r}")

    def __hash__(self) -> int:
        return hash(json.dumps(self._values, sort_keys=True))

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return f"Params({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def __reduce__(self) -> tuple[type[Params], tuple[dict[str, Any]]]:
        return Params, (dict(self._values),)

    def replace(self, **changes: object) -> Params:
        """Return a copy with some values changed or added.

        >>> Params(a=1).replace(a=2, b=3)
        Params(a=2, b=3)
        """
        return Params({**self._values, **changes})

    def to_json(self) -> dict[str, Any]:
        """Return the values as a plain dictionary of JSON values."""
        return dict(self._values)


def _plain(name: str, value: object) -> object:
    """Return the value as JSON would give it back, so that a reproduced run gets the very same one."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        value = item()  # a NumPy scalar
    try:
        plain: object = json.loads(json.dumps(value, allow_nan=True))
    except (TypeError, ValueError):
        raise DeclarationError(
            f"the parameter {name!r} is a {type(value).__name__}, which cannot be recorded.",
            hint="Use numbers, strings, booleans, None, and lists or mappings of them; build objects in the function.",
        ) from None
    return plain
