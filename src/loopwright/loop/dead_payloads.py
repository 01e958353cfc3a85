"""Packed images, audio and texts that no row refers to any more, shard by shard.

A shard goes when at least half of its bytes are dead: what lives in it is packed anew, and the old shard goes to the
trash with its places, so that it can be brought back as it was. Shards with less dead in them stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import connect
from loopwright.core.storage.payload_refs import referred
from loopwright.core.storage.payloads import INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.core.storage.trash import Trash

_DEAD_SHARE = 0.5
PLACE = "payloads"


@dataclass(frozen=True)
class DeadShard:
    """One shard that is mostly dead: its blob, its size, and the payloads that nothing refers to."""

    digest: str
    size_bytes: int
    dead: tuple[str, ...]
    dead_bytes: int


def dead_payloads(stores: Stores, *, before: datetime) -> list[DeadShard]:
    """Find the shards of which at least half is dead, and which were written before a moment."""
    if not stores.tables.exists(INDEX):
        return []
    shards = stores.payloads.shards()
    old = {blob.digest: blob.size_bytes for blob in stores.blobs.listed() if blob.modified_at < before}
    inside = {digest: refs for digest, refs in shards.items() if digest in old}
    if not inside:
        return []
    asked = {ref for refs in inside.values() for ref in refs}
    scratch = stores.local / "tmp" / "payloads"
    scratch.mkdir(parents=True, exist_ok=True)
    with connect(temp_folder=scratch / "spill") as con:
        alive = referred(con, stores.tables, asked, scratch)
    found = []
    for digest, refs in sorted(inside.items()):
        dead = tuple(sorted(refs.keys() - alive))
        size = sum(refs[ref] for ref in dead)
        if dead and size >= _DEAD_SHARE * sum(refs.values()):
            found.append(DeadShard(digest, old[digest], dead, size))
    return found


def take_payloads(stores: Stores, trash: Trash, identity: str, found: Sequence[DeadShard]) -> None:
    """Pack what lives in the shards anew, and move the shards to the trash with their places."""
    with connect() as con:
        stores.tables.attach(con, "places", INDEX)
        listed = ", ".join(f"'{one.digest}'" for one in found)
        rows = con.execute(
            f'SELECT DISTINCT shard, digest, "offset", length FROM places WHERE shard IN ({listed})'
        ).fetchall()
    for one in found:
        places = [[row[1], row[2], row[3]] for row in rows if row[0] == one.digest]
        trash.note(identity, PLACE, one.digest, places, kind="payloads")
    dead = [ref for one in found for ref in one.dead]
    emptied = set(stores.payloads.drop(dead)) & {one.digest for one in found}
    sizes = {f"blobs/{one.digest[:2]}/{one.digest[2:]}": one.size_bytes for one in found if one.digest in emptied}
    trash.take_objects(identity, sizes, kind="payloads", name="packed images, audio and texts")


def restore_places(stores: Stores, shard: str, places: Sequence[Sequence[object]]) -> None:
    """Put a restored shard's payloads back into the index, those that it does not find elsewhere."""
    refs = [f"sha256:{place[0]}" for place in places]
    missing = {ref.removeprefix("sha256:") for ref in stores.payloads.missing(refs)}
    rows = [(str(place[0]), shard, place[1], place[2]) for place in places if place[0] in missing]
    if rows:
        names = ("digest", "shard", "offset", "length")
        kinds = (pa.string(), pa.string(), pa.int64(), pa.int64())
        columns = {
            name: pa.array([row[i] for row in rows], kind)
            for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
        stores.tables.append(INDEX, pa.table(columns))
