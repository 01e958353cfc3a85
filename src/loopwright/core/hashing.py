"""Content digests: SHA-256 of bytes, files, JSON values and functions."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import sys
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_NOT_COMPUTED = frozenset(
    {"__doc__", "__module__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__", "__annotations__"}
)
_STANDARD = Path(inspect.__file__).parent


def digest_bytes(data: bytes | memoryview) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of a JSON value; the order of keys does not matter.

    >>> digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    True
    """
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode())


def source_of(function: Callable[..., object]) -> str:
    """Return a function's source text, without its indentation, or its name where there is none.

    A decorated function is unwrapped first; the decorator lines belong to the source.
    """
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):
        return getattr(function, "__qualname__", repr(function))


def digest_function(function: Callable[..., object]) -> str:
    """Return a digest that changes when the function would compute something else.

    It covers the compiled body (so comments and layout do not count), defaults, closure values, and, to any depth, the
    functions, classes and plain constants that the body names: those of its own file, and those of other files that no
    package manager installed. What a function imports while it runs is not seen.

    >>> def double(x):
    ...     return 2 * x
    >>> def triple(x):
    ...     return 3 * x
    >>> digest_function(double) == digest_function(triple)
    False
    """
    return digest_json(_describe(function, set()))


def _describe(value: object, seen: set[int]) -> object:
    if isinstance(value, functools.partial):
        return ["partial", _describe(value.func, seen), _describe(value.args, seen), _describe(value.keywords, seen)]
    if isinstance(value, types.MethodType):
        return ["method", _describe(value.__func__, seen)]
    if isinstance(value, types.FunctionType):
        return _describe_function(value, seen)
    if isinstance(value, type) and _is_own(value.__module__):
        return _describe_class(value, seen)
    wrapped = getattr(value, "__wrapped__", None)
    if isinstance(wrapped, types.FunctionType):  # a static or a class method, or what functools.cache makes
        return [type(value).__qualname__, _describe(wrapped, seen)]
    if isinstance(value, property):
        return ["property", _describe(value.fget, seen), _describe(value.fset, seen)]
    if isinstance(value, types.CodeType):
        return _describe_code(value)
    if isinstance(value, (str, int, float, bool, bytes)) or value is None:
        return repr(value)
    if isinstance(value, Mapping):
        return [
            [repr(key), _describe(item, seen)] for key, item in sorted(value.items(), key=lambda pair: repr(pair[0]))
        ]
    if isinstance(value, (set, frozenset)):
        return sorted(repr(item) for item in value)
    if isinstance(value, Sequence):
        return [_describe(item, seen) for item in value]
    return [
        type(value).__module__,
        type(value).__qualname__,
        getattr(value, "__name__", None) or getattr(value, "digest", None),
    ]


def _describe_function(function: types.FunctionType, seen: set[int]) -> object:
    if id(function) in seen:
        return function.__qualname__
    seen.add(id(function))
    code = function.__code__
    named = _describe_named(function.__globals__, _names(code), seen, function.__module__)
    cells = [_describe(cell.cell_contents, seen) for cell in function.__closure__ or () if _filled(cell)]
    return [
        _describe_code(code),
        _describe(function.__defaults__, seen),
        _describe(function.__kwdefaults__, seen),
        cells,
        named,
    ]


def _describe_named(space: Mapping[str, object], names: set[str], seen: set[int], module: str) -> dict[str, object]:
    """Describe what a body names in the globals of its file; of another file of the project, what it names there."""
    found: dict[str, object] = {}
    for name in sorted(names & space.keys()):
        value = space[name]
        if isinstance(value, types.ModuleType):
            if _is_own(value.__name__) and id(value) not in seen:
                found[name] = _describe_named(vars(value), names, seen | {id(value)}, value.__name__)
        elif _is_local(value, module):
            found[name] = _describe(value, seen)
    return found


def _describe_class(made: type, seen: set[int]) -> object:
    if id(made) in seen:
        return made.__qualname__
    seen.add(id(made))
    body = {name: _describe(value, seen) for name, value in sorted(vars(made).items()) if name not in _NOT_COMPUTED}
    return [made.__qualname__, [_describe(base, seen) for base in made.__bases__], body]


def _describe_code(code: types.CodeType) -> object:
    constants = [_describe_code(item) if isinstance(item, types.CodeType) else repr(item) for item in code.co_consts]
    if code.co_consts and isinstance(code.co_consts[0], str):
        constants[0] = repr(None)  # the docstring is no part of what is computed
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames), list(code.co_freevars)]


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            names |= _names(item)
    return names


def _is_local(value: object, module: str) -> bool:
    defined = value.func if isinstance(value, functools.partial) else getattr(value, "__wrapped__", value)
    if isinstance(defined, (types.FunctionType, type)):
        return defined.__module__ == module or _is_own(defined.__module__)
    return isinstance(value, (str, int, float, bool, bytes, tuple, list, dict, set, frozenset))


def _is_own(name: str) -> bool:
    """Say whether a module is the user's: a file that neither Python nor a package manager put there."""
    if name == "__main__" or name.partition(".")[0] == "loopwright":
        return name == "__main__"
    file = getattr(sys.modules.get(name), "__file__", None)
    if not isinstance(file, str):
        return False
    path = Path(file)
    return not {"site-packages", "dist-packages"} & set(path.parts) and not path.is_relative_to(_STANDARD)


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
