"""The questions that a workload is asked for by, and the file that the answers make.

Each answer is kept as it was written, with its unit, so that the file can be read, corrected and run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loopwright.core.errors import LoopwrightError
from loopwright.planning.workload_file import request_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        section: The table of the file that the answer stands in; empty for the top.
        key: Its key there.
        text: As a person is asked.
        default: What is offered; empty where the planner may assume something itself.
        is_list: Whether the answer is names with commas between.
    """

    section: str
    key: str
    text: str
    default: str = ""
    is_list: bool = False


QUESTIONS: Final[tuple[Question, ...]] = (
    Question("", "name", "What is the project called", "my-project"),
    Question("", "clouds", "Where may it run (aws, gcp, azure)", "aws, gcp, azure", is_list=True),
    Question("", "availability", "For which share of the time must it answer", "0.999"),
    Question("requests", "per_day", "How many requests come on an average day", "1M/day"),
    Question("requests", "peak", "How many come in the busiest stretch (empty: three times the mean)"),
    Question("requests", "latency_p99", "What may the 99th percentile of answers take", "200ms"),
    Question("requests", "payload", "How large is one request", "2KB"),
    Question("requests", "retention", "How long are raw data kept", "90d"),
    Question("services", "mean", "What does one answer take on average", "50ms"),
    Question("services", "vcpus", "On how many vCPUs", "2"),
    Question("services", "memory", "In how much memory", "1GB"),
    Question("training", "cadence", "How often is it trained (daily, weekly, monthly, quarterly, never)", "monthly"),
    Question("training", "cpu", "What does one training take on four cores", "1h"),
)
_BASE: Final = {
    "requests": {"per_day": "1M/day"},
    "training": {"hours": {"cpu": "1h"}},
    "services": [{"name": "model", "mean": "50ms"}],
}


def problem(question: Question, answer: str, before: Mapping[tuple[str, str], str]) -> str | None:
    """Return why an answer cannot be, next to the answers before it; None where it can.

    >>> problem(QUESTIONS[5], "soon", {})[:20]
    'latency_p99 in [requ'
    """
    given = {**before, (question.section, question.key): answer}
    tables: dict[str, object] = {name: _copied(value) for name, value in _BASE.items()}
    _put(tables, given)
    try:
        request_of(tables)
    except LoopwrightError as error:
        return f"{error.message} {error.hint or ''}".strip()
    return None


def tables_of(answers: Mapping[tuple[str, str], str]) -> dict[str, object]:
    """Return the tables of a workload file; what was left empty is left out."""
    tables: dict[str, object] = {}
    _put(tables, answers)
    return tables


def toml_of(tables: Mapping[str, object]) -> str:
    """Write tables as TOML: plain values first, then tables, then lists of tables.

    >>> toml_of({"name": "a", "requests": {"per_day": "1M"}, "services": [{"name": "m", "vcpus": 2}]}).splitlines()
    ['name = "a"', '', '[requests]', 'per_day = "1M"', '', '[[services]]', 'name = "m"', 'vcpus = 2']
    """
    lines = [f"{key} = {_value(value)}" for key, value in tables.items() if not _is_table(value)]
    for key, value in tables.items():
        for one in value if isinstance(value, list) and _is_table(value) else [value]:
            if isinstance(one, dict):
                lines += ["", f"[[{key}]]" if isinstance(value, list) else f"[{key}]"]
                lines += [f"{name} = {_value(inner)}" for name, inner in one.items()]
    return "\n".join(lines).strip("\n") + "\n"


def _put(tables: dict[str, object], answers: Mapping[tuple[str, str], str]) -> None:
    known = {(one.section, one.key): one for one in QUESTIONS}
    for place, answer in answers.items():
        section, key = place
        if not answer.strip():
            continue
        value: object = answer.strip()
        if known[place].is_list:
            value = [part.strip() for part in answer.split(",") if part.strip()]
        if section == "":
            tables[key] = value
            continue
        if section == "services":
            services = tables.setdefault(section, [{"name": "model", "tag": "assumed"}])
            assert isinstance(services, list)  # noqa: S101 - made by the line above
            services[0][key] = value
            continue
        table = tables.setdefault(section, {})
        assert isinstance(table, dict)  # noqa: S101 - as above
        if place == ("training", "cpu"):
            table["hours"], table["tag"] = {"cpu": value}, "assumed"
        else:
            table[key] = value


def _copied(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_text(str(key))} = {_value(one)}" for key, one in value.items()) + " }"
    return _text(str(value))


def _text(value: str) -> str:
    escaped = "".join(
        f"\\u{ord(one):04x}" if ord(one) < 32 or ord(one) == 127 else {'"': '\\"', "\\": "\\\\"}.get(one, one)
        for one in value
    )
    return f'"{escaped}"'
