"""Writes plain values as YAML that people read: blocks, texts in quotes only where another reader could mistake them.

Source: YAML 1.2.2, chapters 7 and 8. Words that YAML 1.1 takes for truth values or numbers (``on``, ``no``, ``1_000``,
``12:30``) are in quotes as well, as many tools still read that version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./\-]*(?: [A-Za-z0-9_./\-]+)*|\.[A-Za-z]+[A-Za-z0-9/\-]*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MISTAKEN = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null|nan|\.nan|[-+.]?inf")


def yaml_text(value: object, *, comment: str = "") -> str:
    """Return a value as one YAML document, below a comment.

    Raises:
        TypeError: If it holds anything but mappings, sequences, texts, numbers, truth values and None.

    >>> print(yaml_text({"cpu": "2", "ports": [80, 443], "on": True}), end="")
    cpu: "2"
    ports:
      - 80
      - 443
    "on": true
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*lines, *_block(value)]) + "\n"


def yaml_documents(values: Iterable[object], *, comment: str = "") -> str:
    """Return several values as the documents of one file."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return head + "---\n".join(yaml_text(value) for value in values)


def _block(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _entry(f"{_scalar(str(key))}:", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for inner in value:
            lines = list(_block(inner))
            yield f"- {lines[0]}"
            yield from (f"  {line}" if line else "" for line in lines[1:])
    else:
        yield _flow(value)


def _entry(head: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and _is_literal(value):
        yield f"{head} |" + ("" if value.endswith("\n") else "-")
        yield from (f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    elif isinstance(value, Mapping | Sequence) and not isinstance(value, str) and value:
        yield head
        yield from (f"  {line}" if line else "" for line in _block(value))
    else:
        yield f"{head} {_flow(value)}"


def _is_literal(text: str) -> bool:
    """Whether a text can stand as it is: several printable lines, no blank at the start, one line's end at most."""
    body = text.removesuffix("\n")
    is_plain = all(character == "\n" or (character.isprintable() and character.isascii()) for character in body)
    return "\n" in body and is_plain and body[0] not in " \n" and not body.endswith("\n")


def _flow(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        mantissa, mark, power = repr(value).partition("e")
        return (mantissa if "." in mantissa else f"{mantissa}.0") + mark + power  # YAML 1.1 wants the point
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence):
        return "[]"
    raise TypeError(f"{type(value).__name__} has no form in YAML")


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and not _MISTAKEN.fullmatch(text):
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
