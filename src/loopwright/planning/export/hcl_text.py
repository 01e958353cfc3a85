"""Lays Terraform text out as `terraform fmt` does: no double empty lines, and values of neighbours in one column."""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(r"(?P<indent> *)(?P<name>[\w-]+) *= (?P<value>.*)")
_OPENS = ("{", "[", "(")


def hcl_text(text: str) -> str:
    r"""Return a text laid out.

    >>> print(hcl_text("a = 1\nlonger = 2\n\n\n\nb = {\n  c = 3\n}\n"), end="")
    a      = 1
    longer = 2
    <BLANKLINE>
    b = {
      c = 3
    }
    """
    made: list[str] = []
    group: list[re.Match[str]] = []
    for line in re.sub(r"\n{3,}", "\n\n", text).strip().split("\n"):
        found = _ASSIGNMENT.fullmatch(line)
        if found is None or line.endswith(_OPENS) or (group and found["indent"] != group[0]["indent"]):
            made += _aligned(group)
            group = []
        if found is None or line.endswith(_OPENS):
            made.append(line)
        else:
            group.append(found)
    return "\n".join([*made, *_aligned(group)]) + "\n"


def _aligned(group: list[re.Match[str]]) -> list[str]:
    width = max((len(one["name"]) for one in group), default=0)
    return [f"{one['indent']}{one['name'].ljust(width)} = {one['value']}" for one in group]
