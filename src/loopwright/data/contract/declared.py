"""What every check of a contract can do: name itself, describe itself as JSON, and spell itself as Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from loopwright.core.errors import ContractError
from loopwright.data.contract.bounds import as_json, check_on_failure, checked_mostly
from loopwright.data.contract.words import WHOLE_INGEST, OnFailure

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class DeclaredCheck(ABC):
    """A check of a contract. Its fields are the arguments of the function that makes it.

    Attributes:
        positional: The fields that are given by position.
        is_spread: Whether the only positional field is a tuple that is given one by one.
        names_rows: Whether a failure names the rows to blame.
    """

    positional: ClassVar[tuple[str, ...]] = ()
    is_spread: ClassVar[bool] = False
    names_rows: ClassVar[bool] = False

    @property
    @abstractmethod
    def word(self) -> str:
        """The function that declares it."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The check as reports name it; no two of a contract share it."""

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return ()

    @property
    def severity(self) -> OnFailure:
        """What becomes of a failure."""
        found: OnFailure = getattr(self, "on_failure", "warn")
        return found

    def arguments(self) -> dict[str, object]:
        """Return the fields that are set."""
        found = ((field.name, getattr(self, field.name), field.default) for field in fields(self))
        return {name: value for name, value, default in found if name in self.positional or value != default}

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"check": self.word} | {name: as_json(value) for name, value in self.arguments().items()}

    def spelled(self) -> str:
        """Return the declaration as Python, such as ``lw.unique('order_id')``."""
        given = self.arguments()
        parts = [given.pop(name) for name in self.positional]
        if self.is_spread:
            parts = list(parts[0])  # type: ignore[call-overload]
        listed = [repr(plain(part)) for part in parts]
        return f"lw.{self.word}({', '.join([*listed, *(f'{name}={plain(value)!r}' for name, value in given.items())])})"


def plain(value: object) -> object:
    """Return a value as it is written in Python: tuples as lists, times as texts."""
    return as_json(value)


def checked_names(where: str, names: Iterable[object], *, least: int = 1) -> tuple[str, ...]:
    """Return names of columns, each a text and each once."""
    if isinstance(names, str):
        names = (names,)
    listed = tuple(names)
    if len(listed) < least or not all(isinstance(name, str) and name for name in listed):
        many = "names of columns" if least == 1 else f"the names of at least {least} columns"
        raise ContractError(f"{where} takes {many}, got {listed!r}.")
    if len(set(listed)) != len(listed):
        raise ContractError(f"{where} names a column twice: {', '.join(map(str, listed))}.")
    return tuple(str(name) for name in listed)


def check_whole(on_failure: str, where: str) -> None:
    """Raise ContractError unless ``on_failure`` is one for a check with no row to blame."""
    check_on_failure(on_failure, f"{where} judges a whole ingest and not a row", WHOLE_INGEST)


def checked_share(where: str, mostly: object, on_failure: str) -> float | None:
    """Check ``on_failure`` and ``mostly`` of a check that names the rows to blame; return the share."""
    check_on_failure(on_failure, where)
    return checked_mostly(where, mostly)
