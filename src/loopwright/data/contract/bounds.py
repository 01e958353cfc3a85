"""What can be declared of a column's values: bounds, sets, patterns, lengths and formats that fit its type.

Each function raises :class:`ContractError` at the declaration for what could never hold, or never be computed.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, get_args

from loopwright.core.errors import ContractError
from loopwright.data.contract.words import BYTES_TYPES, NUMBER_TYPES, ORDERED_TYPES, TEXT_TYPES, OnFailure, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMAT_CODES = frozenset("aAbBcdfHIjmMpSUwWyYzZxX%")  # those that Python and DuckDB read alike


def check_on_failure(on_failure: str, where: str, allowed: tuple[str, ...] = get_args(OnFailure)) -> None:
    """Raise ContractError unless ``on_failure`` is one of ``allowed``."""
    if on_failure not in allowed:
        raise ContractError(f"{where}: on_failure={on_failure!r} is not known.", hint=f"Use {' or '.join(allowed)}.")


def check_range(
    where: str,
    type_: str,
    *,
    at_least: Scalar | None = None,
    at_most: Scalar | None = None,
    above: Scalar | None = None,
    below: Scalar | None = None,
) -> None:
    """Check the bounds of a column's values against its type and against each other."""
    for bound in (at_least, at_most, above, below):
        if bound is None:
            continue
        if type_ not in ORDERED_TYPES:
            raise ContractError(
                f"{where} is {type_}, and a range needs a number, a timestamp or a date.",
                hint="Use among= or matches=.",
            )
        number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
        if number != (type_ in NUMBER_TYPES) or (isinstance(bound, float) and math.isnan(bound)):
            raise ContractError(f"{where} is {type_}, and {bound!r} is no bound for it.")
        if not number:
            as_moment(where, bound)
    if at_least is not None and above is not None:
        raise ContractError(f"{where} has at_least= and above=.", hint="Keep one of them.")
    if at_most is not None and below is not None:
        raise ContractError(f"{where} has at_most= and below=.", hint="Keep one of them.")
    low, high = (at_least if above is None else above), (at_most if below is None else below)
    if low is None or high is None:
        return
    first, last = (low, high) if type_ in NUMBER_TYPES else (as_moment(where, low), as_moment(where, high))
    if first > last:  # type: ignore[operator]
        raise ContractError(f"{where} must lie between {low!r} and {high!r}: the first is larger.", hint="Swap them.")
    if first == last and (above is not None or below is not None):
        raise ContractError(f"{where} must lie between {low!r} and {high!r}, not both included: no value can.")


def as_moment(where: str, value: Scalar) -> datetime:
    """Read a bound of a timestamp or a date."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ContractError(f"{where}: {value!r} is no time.", hint="Write it as '2026-01-31T00:00:00'.") from None
    return moment.replace(tzinfo=None) - (moment.utcoffset() or (moment - moment))


def checked_values(where: str, type_: str, given: Iterable[Scalar] | None, option: str) -> tuple[Scalar, ...] | None:
    """Return the values of ``among=`` or ``not_among=``, each of the column's type."""
    if given is None:
        return None
    if isinstance(given, str):
        raise ContractError(f"{where}: {option}= takes a list of values, got the text {given!r}.")
    values = tuple(given)
    if not values:
        reason = ", so no value could pass" if option == "among" else ""
        raise ContractError(f"{where}: {option}= is empty{reason}.", hint="Name the values.")
    if type_ in BYTES_TYPES:
        raise ContractError(f"{where} is {type_}: {option}= is for values, and this is bytes.")
    for value in values:
        if type_ in {"timestamp", "date"}:
            if isinstance(value, (bool, int, float)):
                raise ContractError(f"{where} is {type_}, and {value!r} in {option}= is not.")
            as_moment(where, value)
            continue
        fits = (
            isinstance(value, str)
            if type_ in TEXT_TYPES
            else isinstance(value, bool)
            if type_ == "bool"
            else isinstance(value, (int, float)) and not isinstance(value, bool)
        )
        if not fits:
            raise ContractError(f"{where} is {type_}, and {value!r} in {option}= is not.")
    return values


def check_text_options(where: str, type_: str, options: dict[str, object]) -> None:
    """Check the options that are for text: patterns, affixes, lengths and formats."""
    for option, value in options.items():
        if value is None or value is False:
            continue
        if type_ not in TEXT_TYPES:
            raise ContractError(f"{where} is {type_}: {option}= is for string, category and text.")
        if option in {"matches", "not_matches"}:
            _check_pattern(where, option, value)
        elif option in {"starts_with", "ends_with", "contains"} and not (isinstance(value, str) and value):
            raise ContractError(f"{where}: {option}= takes a text that is not empty, got {value!r}.")
        elif option == "format":
            _check_format(where, value)


def checked_length(where: str, length: object) -> tuple[int | None, int | None] | None:
    """Return the smallest and largest length of a text, in characters, from a number or a pair."""
    if length is None:
        return None
    pair = (length, length) if isinstance(length, int) and not isinstance(length, bool) else length
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(one is None or (isinstance(one, int) and not isinstance(one, bool) and one >= 0) for one in pair)
        or pair[0] is pair[1] is None
    ):
        raise ContractError(f"{where}: length= takes (least, most) in characters, or one number; got {length!r}.")
    low, high = pair
    if low is not None and high is not None and low > high:
        raise ContractError(f"{where}: length={length!r} can never hold: the first is larger.", hint="Swap them.")
    return low, high


def check_multiple(where: str, type_: str, step: object) -> None:
    """Check what a number must be a whole multiple of."""
    if step is None:
        return
    if type_ not in NUMBER_TYPES:
        raise ContractError(f"{where} is {type_}: multiple_of= is for int and float.")
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not math.isfinite(step) or step <= 0:
        raise ContractError(f"{where}: multiple_of= takes a number above 0, got {step!r}.")
    if type_ == "int" and step != int(step):
        raise ContractError(f"{where} is int, and multiple_of={step!r} is not whole.")


def checked_mostly(where: str, mostly: object) -> float | None:
    """Return the share of rows for which a check must hold, or None for all of them."""
    if mostly is None or mostly == 1:
        return None
    if isinstance(mostly, bool) or not isinstance(mostly, (int, float)) or not 0 < mostly < 1:
        raise ContractError(
            f"{where}: mostly= is a share of rows above 0 and at most 1, got {mostly!r}.",
            hint="Write 0.95 for 95 of 100 rows.",
        )
    return float(mostly)


def as_json(value: object) -> object:
    """Return a declared value as JSON."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return [as_json(one) for one in value] if isinstance(value, (tuple, list)) else value


def _check_pattern(where: str, option: str, pattern: object) -> None:
    try:
        re.compile(str(pattern))
    except re.error as error:
        raise ContractError(f"{where}: {option}={pattern!r} is no regular expression: {error}.") from None
    for construct, name in (("(?=", "lookahead"), ("(?!", "lookahead"), ("(?<=", "lookbehind"), ("(?<!", "lookbehind")):
        if construct in str(pattern):
            raise ContractError(
                f"{where}: {option}={pattern!r} has a {name}, which RE2 lacks.",
                hint="Write it without, or use expect().",
            )


def _check_format(where: str, format_: object) -> None:
    codes = re.findall("%(.?)", format_) if isinstance(format_, str) else []
    unknown = [code for code in codes if code not in _FORMAT_CODES or not code]
    if not codes or unknown:
        named = f"%{unknown[0]}" if unknown else "no code such as %Y"
        raise ContractError(f"{where}: format={format_!r} has {named}.", hint="Write it as '%Y-%m-%d'.")
