"""Puts the texts of text columns into the payload store, and reads them back.

A text is judged as it came; only a row that the contract accepts has its text stored, as UTF-8 and once however often
it comes, and holds the reference. The quarantine keeps the text itself, since that is what has to be looked at.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopwright.core.storage.payloads import PayloadStore

_HELD_BYTES = 64 << 20  # of texts in memory at once; they are packed into shards together


class TextShelf:
    """Exchanges texts for references in accepted rows, many batches at a time, and hands the rows on in their order.

    Args:
        columns: The text columns.
        store: Where the texts go.
        hand_on: Takes the rows with references.
    """

    def __init__(self, columns: Sequence[str], store: PayloadStore, hand_on: Callable[[pa.Table], None]) -> None:
        self._columns = tuple(columns)
        self._store = store
        self._hand_on = hand_on
        self._held: list[pa.Table] = []
        self._size = 0

    def add(self, rows: pa.Table) -> None:
        """Take judged rows; without text columns they are handed on at once."""
        there = [name for name in self._columns if name in rows.column_names]
        if not there:
            self.flush()
            self._hand_on(rows)
            return
        self._held.append(rows)
        self._size += sum(rows[name].nbytes for name in there)
        if self._size >= _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store the texts that are held, and hand their rows on."""
        held, self._held, self._size = self._held, [], 0
        if not held:
            return
        texts = [
            value.encode()
            for rows in held
            for name in self._columns
            if name in rows.column_names
            for value in rows[name].to_pylist()
            if value is not None
        ]
        refs = iter(self._store.put_many(texts) if texts else [])
        for rows in held:
            for name in self._columns:
                if name in rows.column_names:
                    filled = rows[name].is_valid().to_pylist()
                    column = pa.array([next(refs) if one else None for one in filled], pa.string())
                    rows = rows.set_column(rows.column_names.index(name), name, column)  # noqa: PLW2901
            self._hand_on(rows)


def read_texts(store: PayloadStore, refs: pa.ChunkedArray) -> pa.Array:
    """Return the texts that a column of references stands for, in its order.

    Raises:
        UnknownNameError: If a text is not stored.
        StoreCorruptError: If what is stored is not what was put.
    """
    wanted = refs.unique().drop_null().to_pylist()
    found = dict(zip(wanted, store.get_many(wanted), strict=True)) if wanted else {}
    return pa.array([None if ref is None else found[ref].decode() for ref in refs.to_pylist()], pa.string())


def text_ref(text: str) -> str:
    """Return the reference under which a text is stored, stored or not.

    >>> text_ref("")[:15]
    'sha256:e3b0c442'
    """
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def raw_with_texts(store: PayloadStore, raw: pa.ChunkedArray, columns: Sequence[str]) -> pa.Array:
    """Return rows in JSON, as the quarantine keeps them, with the texts themselves in place of their references."""
    rows = [json.loads(row) for row in raw.to_pylist()]
    refs = {row[name] for row in rows for name in columns if row.get(name) is not None}
    texts = dict(zip(refs, store.get_many(list(refs)), strict=True)) if refs else {}
    for row in rows:
        row.update({name: texts[row[name]].decode() for name in columns if row.get(name) is not None})
    return pa.array([json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows], pa.string())
