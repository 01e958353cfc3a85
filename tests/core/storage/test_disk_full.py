"""A disk without space: one clear error, nothing torn, and everything works again when there is space."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, sys
from pathlib import Path
import pyarrow as pa
from loopwright.core.errors import StoreFullError
from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.events import Event, SqliteEventLog
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore

folder = Path(sys.argv[1])
blobs, tables, log = BlobStore(folder), TableStore(folder), SqliteEventLog(folder / "events.db")
payloads = PayloadStore(blobs, tables)
kept = blobs.put(b"kept")
rows = pa.table({"x": pa.array([1, 2, 3])})
tables.append("t", rows)
log.append("t", [Event(None, b"kept")])
ballast = folder / "ballast"

def refused(what, work):
    try:
        work()
    except StoreFullError as error:
        print(what, "refused:", error)
    else:
        raise SystemExit(f"{what} found space")

noise = os.urandom(9 << 20)
source = Path(sys.argv[2])
source.write_bytes(noise)
refused("large blob", lambda: blobs.put(noise))
refused("large file", lambda: blobs.put_file(source))
refused("payloads", lambda: payloads.put_many([noise]))
refused("large rows", lambda: tables.append("t", pa.table({"x": pa.array(range(3 << 20))}), transaction=("a", 1)))
with ballast.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
refused("small blob", lambda: blobs.put(b"x" * 10_000))
refused("fetch", lambda: blobs.fetch(kept, folder / "fetched"))
refused("rows", lambda: tables.append("t", rows, transaction=("a", 1)))
refused("events", lambda: [log.append("t", [Event(None, bytes(5000))]) for _ in range(1000)])
seen = log.end("t")
ballast.unlink()
assert list(blobs.digests()) == [kept] and blobs.get(kept) == b"kept"
assert tables.read("t")["x"].to_pylist() == [1, 2, 3] and tables.transaction("t", "a") is None
assert [event.offset for event in log.read("t", limit=10**6)] == list(range(1, seen + 1))
tables.append("t", rows, transaction=("a", 1))
log.append("t", [Event(None, b"again")])
blobs.put(b"x" * 10_000)
assert tables.count("t") == 6 and log.end("t") == seen + 1
print("whole")
"""


def test_says_so_and_stays_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    in_a_small_disk = 'mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", in_a_small_disk, "sh", str(disk)]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small disk of their own (unshare, tmpfs)")
    result = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, str(disk), str(tmp_path / "source")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("whole\n")
    assert result.stdout.count("refused: No space is left") == 8
