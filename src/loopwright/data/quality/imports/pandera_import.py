"""Reads a schema of pandera as a contract: the object, a model, or what ``to_yaml`` and ``to_json`` write.

pandera itself is not needed. Every column option and check is taken over, or listed with the reason.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import ContractError
from loopwright.data.contract.check import unique
from loopwright.data.contract.header import column_names
from loopwright.data.contract.statistic import distinct_values
from loopwright.data.quality.imports.imported import CannotTakeError, Gathering, whole_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.data.quality.imports.imported import ImportedContract

_PARTS = frozenset(
    {"dtype", "nullable", "checks", "unique", "coerce", "required", "regex", "name", "title", "description", "default",
     "report_duplicates", "drop_invalid_rows", "metadata", "parsers", "on_missing"}
)  # fmt: skip


def contract_from_pandera(schema: object, *, types: Mapping[str, str] | None = None) -> ImportedContract:
    """Read a schema as a contract.

    Args:
        schema: A ``DataFrameSchema``, a ``DataFrameModel``, or what one was written as: YAML, JSON, or their values.
        types: Types of columns, in place of the schema's.

    Raises:
        ContractError: If it is no schema, or YAML, and PyYAML is not installed.

    >>> made = contract_from_pandera(
    ...     {"columns": {"km": {"dtype": "float64", "coerce": True, "in_range": {"min_value": 0, "max_value": 9}}}}
    ... )
    >>> print(made.contract.to_source())
    [
        lw.column('km', 'float', between=(0, 9)),
    ]
    """
    found = _as_values(schema)
    gathering = Gathering(types or {})
    coerce_all = bool(found.get("coerce"))
    for name, options in found["columns"].items():
        _take_column(gathering, str(name), dict(options or {}), coerce_all=coerce_all)
    for name, check in _checks(found.get("checks")):
        gathering.take(f"check {name}", partial(_refuse, _why_no_check(name, check, "of the whole table")))
    for index in found.get("index") or []:
        gathering.take(
            f"index {index.get('name')}", partial(_refuse, "rows have no index here; declare it as a column")
        )
    if found.get("unique"):
        names = [found["unique"]] if isinstance(found["unique"], str) else found["unique"]
        gathering.take(f"unique {', '.join(names)}", partial(_add_unique, gathering, names))
    if found.get("ordered"):
        names = [str(name) for name, one in found["columns"].items() if not (one or {}).get("regex")]
        ordered = column_names(*names, ordered=True, others=True, on_failure="stop")
        gathering.take("ordered", partial(gathering.add, ordered))
    if found.get("strict") == "filter":
        gathering.take("strict='filter'", partial(_refuse, "columns are not dropped; the contract keeps what it gets"))
    gathering.is_strict = found.get("strict") is True
    return gathering.finished()


def _take_column(gathering: Gathering, name: str, options: dict[str, Any], *, coerce_all: bool) -> None:
    if options.get("regex"):
        gathering.take(f"column {name}", partial(_refuse, "it stands for all columns that match; declare each of them"))
        return

    def declare() -> None:
        declared: dict[str, Any] = {"required": not options.get("nullable") and options.get("required", True)}
        if not (options.get("coerce") or coerce_all) and options.get("dtype") is not None:
            declared["coerce"] = False
        gathering.set(name, _type(options.get("dtype")), **declared)
        if not options.get("nullable") and not options.get("required", True):
            gathering.assumed.append(f"the column '{name}' may be absent, so its missing values pass")

    gathering.take(f"column {name}", declare)
    if options.get("unique"):
        gathering.take(f"unique {name}", partial(_add_unique, gathering, [name]))
    if options.get("default") is not None:
        gathering.take(f"default of {name}", partial(_refuse, "missing values are not filled at ingest"))
    if options.get("parsers"):
        gathering.take(f"parsers of {name}", partial(_refuse, "values are not changed at ingest; use a transform"))
    given = options.get("checks")
    compact = {key: value for key, value in options.items() if key not in _PARTS}
    for check, stats in [*_checks(given), *compact.items()]:
        gathering.take(f"{check}({name})", partial(_take_check, gathering, name, check, stats))


def _take_check(gathering: Gathering, name: str, check: str, stats: Any) -> None:  # noqa: ANN401 - JSON
    given: dict[str, Any] = dict(stats) if isinstance(stats, dict) else {"": stats}
    options = dict(given.pop("options", {}) or {})
    is_warning = bool(options.get("raise_warning") or given.pop("raise_warning", False))
    if options.get("groupby") or given.get("groupby"):
        raise CannotTakeError("it looks at groups; use a check of the ingest")
    if options.get("ignore_na") is False:
        raise CannotTakeError("it fails where a value is missing; declare the column as required")
    if check not in CHECKS:
        raise CannotTakeError(_why_no_check(check, stats, "of the column"))
    made = CHECKS[check](given)
    failure: Any = "warn" if is_warning else "quarantine"
    if check == "unique_values_eq":
        values = given.get("values", given.get(""))
        gathering.add(distinct_values(name, equal=_listed(values), on_failure="warn" if is_warning else "stop"))
        return
    gathering.set(name, on_failure=failure, **made)


def _why_no_check(name: str, stats: object, where: str) -> str:
    del stats
    return f"'{name}' {where} is a function of Python; write it as expect()"


def _refuse(reason: str) -> None:
    raise CannotTakeError(reason)


def _add_unique(gathering: Gathering, names: list[str]) -> None:
    gathering.add(unique(*names))


def _one(stats: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - JSON
    return _plain(stats[key] if key in stats else stats[""])


def _listed(values: Any) -> list[Any]:  # noqa: ANN401 - JSON
    found = [_plain(one) for one in values]
    return sorted(found, key=str) if isinstance(values, (set, frozenset)) else found


def _plain(value: Any) -> Any:  # noqa: ANN401 - a scalar of pandas, NumPy or JSON
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _in_range(stats: Mapping[str, Any]) -> dict[str, Any]:
    low = "at_least" if stats.get("include_min", True) else "above"
    high = "at_most" if stats.get("include_max", True) else "below"
    return {low: _plain(stats["min_value"]), high: _plain(stats["max_value"])}


def _length(stats: Mapping[str, Any]) -> dict[str, Any]:
    exact = stats.get("exact_value", stats.get(""))
    if exact is not None:
        return {"length": (int(exact), int(exact))}
    return {"length": (stats.get("min_value"), stats.get("max_value"))}


CHECKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "equal_to": lambda stats: {"among": [_one(stats, "value")]},
    "not_equal_to": lambda stats: {"not_among": [_one(stats, "value")]},
    "greater_than": lambda stats: {"above": _one(stats, "min_value")},
    "greater_than_or_equal_to": lambda stats: {"at_least": _one(stats, "min_value")},
    "less_than": lambda stats: {"below": _one(stats, "max_value")},
    "less_than_or_equal_to": lambda stats: {"at_most": _one(stats, "max_value")},
    "in_range": _in_range,
    "isin": lambda stats: {"among": _listed(stats.get("allowed_values", stats.get("")))},
    "notin": lambda stats: {"not_among": _listed(stats.get("forbidden_values", stats.get("")))},
    "str_matches": lambda stats: {"matches": whole_pattern(_pattern(_one(stats, "pattern")), is_from_start=True)},
    "str_contains": lambda stats: {"matches": whole_pattern(_pattern(_one(stats, "pattern")))},
    "str_startswith": lambda stats: {"starts_with": _one(stats, "string")},
    "str_endswith": lambda stats: {"ends_with": _one(stats, "string")},
    "str_length": _length,
    "unique_values_eq": dict,
}


def _pattern(value: object) -> str:
    return str(getattr(value, "pattern", value))


def _type(dtype: object) -> str | None:
    """Return the type that a dtype is called here; None where the schema does not say one."""
    if dtype is None:
        return None
    name = str(dtype).lower()
    starts = (
        (("int", "uint"), "int"), (("float", "double"), "float"), (("bool",), "bool"), (("category",), "category"),
        (("datetime", "timestamp"), "timestamp"), (("date",), "date"), (("str", "string", "object"), "string"),
    )  # fmt: skip
    for words, type_ in starts:
        if name.startswith(words):
            return type_
    raise CannotTakeError(f"the type {dtype} has no counterpart")


def _checks(given: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(given, dict):
        return [(str(name), stats) for name, stats in given.items()]
    found = []
    for one in given or []:
        options = one.get("options", {}) if isinstance(one, dict) else {}
        found.append((str(options.get("check_name", "check")), one))
    return found


def _as_values(schema: object) -> dict[str, Any]:
    if hasattr(schema, "to_schema"):
        schema = schema.to_schema()
    if hasattr(schema, "columns") and hasattr(schema, "strict"):
        return _of_object(schema)
    if isinstance(schema, str):
        schema = _parsed(schema)
    if not isinstance(schema, dict) or not isinstance(schema.get("columns"), (dict, list)):
        raise ContractError("This is no schema of pandera: it has no columns.")
    columns = schema["columns"]
    if isinstance(columns, list):
        columns = {one["name"]: one for one in columns}
    return schema | {"columns": columns}


def _parsed(text: str) -> object:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ContractError(f"This is no schema of pandera: {error}.") from None
    try:
        import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 - only for schemas that are written so
    except ImportError:
        raise ContractError(
            "A schema in YAML needs PyYAML.", hint="Write it with to_json() in place of to_yaml()."
        ) from None
    try:
        found: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ContractError(f"This is no schema of pandera: {str(error).splitlines()[0]}.") from None
    return found


def _of_object(schema: Any) -> dict[str, Any]:  # noqa: ANN401 - pandera's schema, by its attributes
    index = schema.index
    indexes = [] if index is None else list(getattr(index, "indexes", None) or [index])
    return {
        "columns": {name: _of_column(one) for name, one in schema.columns.items()},
        "checks": {str(one.name): {} for one in schema.checks or []},
        "index": [{"name": one.name} for one in indexes],
        "unique": schema.unique,
        "ordered": schema.ordered,
        "strict": schema.strict,
        "coerce": schema.coerce,
    }


def _of_column(one: Any) -> dict[str, Any]:  # noqa: ANN401 - pandera's column, by its attributes
    checks = [
        dict(each.statistics or {})
        | {
            "options": {
                "check_name": str(each.name),
                "raise_warning": bool(each.raise_warning),
                "ignore_na": each.ignore_na,
                "groupby": each.groupby,
            }
        }
        for each in one.checks
    ]
    names = ("dtype", "nullable", "unique", "coerce", "required", "regex", "default", "parsers")
    return {name: getattr(one, name, None) for name in names} | {"checks": checks}
