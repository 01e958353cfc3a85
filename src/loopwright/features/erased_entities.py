"""Takes erased rows out of what was computed of them for views: online values, and rows kept in the lake.

Values of an erased entity go. Where a view is keyed by something else, the values of the entities that had such a row
go as well, since they were computed from it, and come back without it when the view is filled again; for that its mark
is set back, so that the next filling computes everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.ref import Ref
from loopwright.core.storage.file_lock import FileLock
from loopwright.core.storage.table_purge import drop_table
from loopwright.features.view_registry import ViewRecord, ViewRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore

_decode = msgspec.json.Decoder(list[object]).decode
NOTHING_FILLED = "{}"  # a mark from which the next filling computes everything


@dataclass(frozen=True)
class ViewOf:
    """A view that reads a dataset, directly or through other views.

    Attributes:
        record: The view.
        by_key: Whether the column that rows are erased by is one of its keys.
        columns: Else, the columns of the dataset that are its key; None where they are not the dataset's.
    """

    record: ViewRecord
    by_key: bool
    columns: tuple[str, ...] | None


def views_of(stores: Stores, dataset: str, key_column: str, columns: Collection[str]) -> list[ViewOf]:
    """Return every version of a view on record that reads a dataset with these columns."""
    records = {str(one.ref): one for one in ViewRegistry(stores).versions()}

    def reads(one: ViewRecord) -> bool:
        return any(
            source == str(Ref("dataset", dataset)) or (source in records and reads(records[source]))
            for source in one.sources
        )

    found = []
    for one in records.values():
        if reads(one):
            known = one.entity and all(name in columns for name in one.entity)
            found.append(ViewOf(one, key_column in one.entity, one.entity if known else None))
    return found


def erase_online(
    stores: Stores, online: OnlineStore, view: ViewOf, key_column: str, is_erased: Callable[[str], bool]
) -> int:
    """Remove the entities of a view that are erased, or were computed from erased rows; return how many there were.

    Args:
        stores: Where locks are.
        online: The online store.
        view: Which view.
        key_column: The column that rows are erased by.
        is_erased: Says of an entity's text (of the part that is the key column, where it is one) whether it is meant.
    """
    name = view.record.ref.id
    with FileLock(stores.local / "locks" / f"online {name}.lock").hold():  # as who fills it does
        if name not in online.views():
            return 0
        if not view.by_key and view.columns is None:
            count = online.count(name)
            online.drop(name)
            return count
        place = view.record.entity.index(key_column) if view.by_key else None
        gone = [key for key in online.keys(name) if any(map(is_erased, _texts(key, place)))]
        return online.delete_many(name, gone, mark=NOTHING_FILLED)


def drop_kept_rows(stores: Stores, view: ViewOf) -> bool:
    """Delete the rows that are kept of a view in the lake; True where there were any. They can be filled again."""
    return drop_table(stores.tables, f"features/{view.record.name}/{view.record.version}")


def _texts(key: str, place: int | None) -> list[str]:
    """Return what an entity's values may be as text in a dataset: online, a whole float is written as an integer."""
    values = _decode(key)
    forms = [_forms(value) for value in (values if place is None else values[place : place + 1])]
    return ["|".join(some) for some in product(*forms)]


def _forms(value: object) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    return [str(value), str(float(value))] if isinstance(value, int) else [str(value)]
