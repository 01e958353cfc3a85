"""A dataset: a named, versioned table in the lake, with a source and a contract."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, get_args, overload

from loopwright.core.errors import ContractError, DeclarationError, UnknownNameError
from loopwright.core.hashing import digest_json
from loopwright.data.contract.check import Fresh
from loopwright.data.contract.column import SYSTEM_COLUMNS, column
from loopwright.data.contract.contract import Contract, require_known
from loopwright.data.sources.files import FilesSource
from loopwright.data.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.data.contract.check import Check
    from loopwright.data.contract.column import Column

OnDuplicate = Literal["quarantine", "ignore", "upsert"]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class ColumnRef:
    """One column of a dataset, as ``orders.minutes``."""

    dataset: Dataset
    name: str

    @property
    def declared(self) -> Column | None:
        """The column's declaration in the contract, or None where the contract does not name it."""
        return self.dataset.contract.column(self.name)

    def __str__(self) -> str:
        return f"{self.dataset.name}.{self.name}"


@dataclass(frozen=True)
class Columns:
    """Several columns of a dataset, as ``orders["distance_km", "city"]``."""

    refs: tuple[ColumnRef, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(ref.name for ref in self.refs)


@dataclass(frozen=True, eq=False, init=False)
class Dataset:
    """Declare a dataset. Two datasets are equal when their declarations are.

    A column is named by attribute or by index: ``orders.minutes``, ``orders["distance_km", "city"]``. An attribute of
    this class with the same name wins over the column; the index always means the column.

    Args:
        name: Letters, digits, ``_`` and ``-``.
        source: ``files(...)``, ``push()`` or ``frame(...)``.
        event_time: The column that says when a row's event happened.
        arrival_time: The column that says when a row became known; the moment of ingest where there is none.
        key: The column or columns that identify a row; kept as a tuple. Images, audio and texts have ``file``.
        contract: Columns and checks. The column of a folder of images, audio or texts is declared by its source.
        on_duplicate: What becomes of a row whose key is stored already with **other** content: ``quarantine`` it,
            ``ignore`` it (counted), or ``upsert``: keep both, and read the newer one. A row that is equal to the stored
            one is always left out and counted as a duplicate. Labelled files are upserted.
        description: What the rows are, for people.

    Raises:
        DeclarationError: If name, key or policy cannot be.
        ContractError: If a strict contract lacks a column that is named here.

    >>> from loopwright.data.sources.push import push
    >>> str(Dataset("orders", push()).minutes)
    'orders.minutes'
    """

    name: str
    source: Source
    event_time: str | None
    arrival_time: str | None
    key: tuple[str, ...]
    contract: Contract
    on_duplicate: OnDuplicate
    description: str

    def __init__(
        self,
        name: str,
        source: Source,
        event_time: str | None = None,
        arrival_time: str | None = None,
        key: str | Iterable[str] | None = None,
        contract: Contract | Iterable[Column | Check] | None = None,
        on_duplicate: OnDuplicate | None = None,
        description: str = "",
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DeclarationError(
                f"{name!r} is no name for a dataset.", hint="Use letters, digits, '_' and '-', a letter first."
            )
        if not isinstance(source, Source):
            raise DeclarationError(
                f"Dataset {name!r} needs a source, got {source!r}.", hint="Use lw.files(), lw.push() or lw.frame()."
            )
        payload = source.payload if isinstance(source, FilesSource) else None
        named = (key,) if isinstance(key, str) else tuple(key or (("file",) if payload else ()))
        policy = on_duplicate or ("upsert" if payload else "quarantine")
        if len(set(named)) != len(named) or not all(isinstance(part, str) and part for part in named):
            raise DeclarationError(f"Dataset {name!r}: key= names columns, each once; got {key!r}.")
        if policy not in get_args(OnDuplicate):
            unknown = UnknownNameError("policy for duplicates", str(policy), get_args(OnDuplicate))
            raise DeclarationError(f"Dataset {name!r}: {unknown.message}", hint=unknown.hint)
        if on_duplicate is not None and not named:
            raise DeclarationError(
                f"Dataset {name!r} has on_duplicate={on_duplicate!r} and no key to tell duplicates by.",
                hint="Give it key=.",
            )
        rules = Contract.of(contract)
        if isinstance(source, FilesSource) and payload is not None and rules.column(source.column) is None:
            rules = replace(rules, columns=(*rules.columns, column(source.column, payload)))
        for moment in (event_time, arrival_time):
            declared = rules.column(moment) if moment else None
            if declared is not None and declared.type not in {"timestamp", "date"}:
                raise ContractError(
                    f"Dataset {name!r}: {moment!r} is a time and the contract says {declared.type}.",
                    hint="Declare it as 'timestamp'.",
                )
        if any(part in SYSTEM_COLUMNS for part in (*named, event_time, arrival_time)):
            raise DeclarationError(f"Dataset {name!r} names a system column as key or time.")
        _check_sensitive(name, rules, (*named, *(part for part in (event_time, arrival_time) if part)))
        for check in rules.checks:
            if isinstance(check, Fresh) and event_time is None:
                raise ContractError(f"Dataset {name!r} has {check.label} and no event time.", hint="Give event_time=.")
        if rules.strict:
            needed = [part for part in (*named, event_time, arrival_time) if part is not None]
            require_known(needed, [item.name for item in rules.columns], f"Dataset {name!r}")
        values = {
            "name": name,
            "source": source,
            "event_time": event_time,
            "arrival_time": arrival_time,
            "key": named,
            "contract": rules,
            "on_duplicate": policy,
            "description": description,
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    @property
    def digest(self) -> str:
        """The content digest of the declaration."""
        return digest_json(self.describe())

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {
            "name": self.name,
            "source": self.source.describe(),
            "event_time": self.event_time,
            "arrival_time": self.arrival_time,
            "key": list(self.key),
            "contract": self.contract.describe(),
            "on_duplicate": self.on_duplicate,
        }

    def __getattr__(self, name: str) -> ColumnRef:
        if name.startswith("_") or name in _FIELDS:
            raise AttributeError(name)
        return self._ref(name)

    @overload
    def __getitem__(self, names: str) -> ColumnRef: ...

    @overload
    def __getitem__(self, names: tuple[str, ...]) -> Columns: ...

    def __getitem__(self, names: str | tuple[str, ...]) -> ColumnRef | Columns:
        """Name one column (``orders["city"]``) or several (``orders["city", "minutes"]``)."""
        if isinstance(names, str):
            return self._ref(names)
        return Columns(tuple(self._ref(name) for name in names))

    def _ref(self, name: str) -> ColumnRef:
        if self.contract.strict:
            require_known([name], [item.name for item in self.contract.columns], f"Dataset {self.name!r}")
        return ColumnRef(self, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((Dataset, self.name))

    def __repr__(self) -> str:
        return f"Dataset({self.name!r})"


def _check_sensitive(name: str, rules: Contract, needed: Iterable[str]) -> None:
    """Refuse to lose what tells rows apart."""
    told_apart = {column for check in rules.uniques() for column in check.columns} | set(needed)
    for item in rules.columns:
        if item.name in told_apart and item.sensitive in ("mask", "drop"):
            raise ContractError(
                f"Dataset {name!r}: {item.name!r} tells rows apart, and sensitive={item.sensitive!r} would lose it.",
                hint="Use sensitive='hash': equal values stay equal.",
            )


_FIELDS = frozenset(field.name for field in fields(Dataset))
