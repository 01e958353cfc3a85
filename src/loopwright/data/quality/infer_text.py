"""What texts look like: one shape that all of a column have, and personal data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb

    from loopwright.data.quality.profile import ColumnProfile

FEWEST = 30  # values from which on a common shape is no accident
MOST_SHAPES = 3
LONGEST = 40
_KNOWN = {
    "uuid": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "email": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "url": r"https?://\S+",
}
_SPECIAL = frozenset(r".^$*+?{}[]\|()")
_FEW = 20  # values: no names of people
_PHONE = r"\+?[0-9 ()./-]{7,20}"
_PERSONAL = frozenset(
    {
        "name",
        "firstname",
        "lastname",
        "surname",
        "fullname",
        "email",
        "mail",
        "phone",
        "mobile",
        "telephone",
        "address",
        "street",
        "ssn",
        "passport",
        "birthdate",
        "birthday",
        "dob",
        "iban",
        "ip",
        "ipaddress",
    }
)
_PARTS = {"A": "[A-Z]", "a": "[a-z]", "9": r"\d"}


def shape_of(con: duckdb.DuckDBPyConnection, relation: str, one: ColumnProfile) -> str | None:
    """Return a pattern that all texts of a column match, or None where they have no shape in common.

    Letters, digits and signs count: ``7590-VHVEG`` has the shape of four digits, a hyphen and five capitals.
    """
    if one.filled < FEWEST or one.distinct < 2 or one.texts is None:
        return None
    quoted = quote_name(one.name)
    asked = ", ".join(f"bool_and(regexp_full_match({quoted}, {quote_text(p)}))" for p in _KNOWN.values())
    found = con.execute(f"SELECT {asked} FROM {relation} WHERE {quoted} IS NOT NULL").fetchall()[0]
    for pattern, fits in zip(_KNOWN.values(), found, strict=True):
        if fits:
            return pattern
    if one.texts.longest > LONGEST or not one.texts.shortest:
        return None
    shape = quoted
    for letters, sign in (("[A-Z]", "A"), ("[a-z]", "a"), ("[0-9]", "9")):
        shape = f"regexp_replace({shape}, '{letters}', '{sign}', 'g')"
    shapes = con.execute(
        f"SELECT {shape} AS shape, count(*) AS n FROM {relation} WHERE {quoted} IS NOT NULL GROUP BY shape "
        f"ORDER BY n DESC, shape LIMIT {MOST_SHAPES + 1}"
    ).fetchall()
    if len(shapes) > MOST_SHAPES or any(n < FEWEST or not _is_plain(text) for text, n in shapes):
        return None
    return "|".join(_pattern(text) for text, _ in shapes)


def looks_personal(con: duckdb.DuckDBPyConnection, relation: str, one: ColumnProfile) -> str | None:
    """Say why a column may hold personal data, or None."""
    words = set(re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", one.name).lower()))
    joined = re.sub(r"[^a-z]+", "", one.name.lower())
    advice = 'sensitive="hash", or another word'
    if one.kind == "text" and one.filled:
        quoted = quote_name(one.name)
        digits = f"length(regexp_replace({quoted}, '[^0-9]', '', 'g')) >= 7"
        asked = (
            f"avg(regexp_full_match({quoted}, {quote_text(_KNOWN['email'])})::INTEGER), "
            f"avg((regexp_full_match({quoted}, {quote_text(_PHONE)}) AND {digits})::INTEGER)"
        )
        email, phone = con.execute(f"SELECT {asked} FROM {relation} WHERE {quoted} IS NOT NULL").fetchall()[0]
        if email >= 0.5:
            return f"e-mail addresses? {advice}"
        if phone >= 0.5 and ({"phone", "mobile", "telephone", "tel", "fax"} & words or phone >= 0.9):
            return f"telephone numbers? {advice}"
    if joined in _PERSONAL or (one.distinct > _FEW and words & _PERSONAL - {"name", "ip", "mail"}):
        return f"personal? {advice}"
    return None


def _is_plain(text: str) -> bool:
    """Tell whether a shape is made of letters, digits and few signs, in ASCII, with something fixed to recognise."""
    return text.isascii() and text.isprintable() and any(sign in "A9" for sign in text)


def _pattern(shape: str) -> str:
    parts: list[str] = []
    for match in re.finditer(r"(.)\1*", shape):
        sign, count = match.group(1), len(match.group(0))
        one = _PARTS.get(sign, f"\\{sign}" if sign in _SPECIAL else sign)
        parts.append(one if count == 1 else f"{one}{{{count}}}")
    return "".join(parts)
