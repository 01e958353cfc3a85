"""Keys against a plain dict: pushes, deaths, merges, erasures, other machines and damaged runs in any order."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.settings import Settings
from loopwright.core.storage import hash_runs, hash_shelf, table_compaction
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.data.contract.check import unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import identity, stage
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.data.dataset import OnDuplicate

CONTRACT = [column("k", "int"), column("v", "string")]


class DiedError(BaseException):
    """Ends a push where a killed process would have ended."""


def machines(folder: Path) -> Iterator[Stores]:
    """Give two machines on one store."""
    for name in ("one", "two"):
        mine = Settings.load(folder / name, environ={})
        shared = {"store_url": str(folder / "store"), "metadata_url": f"sqlite:///{folder}/loop.db"}
        yield open_stores(mine.model_copy(update=shared))


def dying(reached: str) -> None:
    if reached == "committed":
        raise DiedError


ROWS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), min_size=1, max_size=5)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "push", "push", "die", "compact", "damage", "erase", "forget"]),
        st.integers(0, 1),
        ROWS,
    ),
    min_size=4,
    max_size=12,
)


@pytest.mark.parametrize("policy", ["ignore", "upsert"])
@pytest.mark.parametrize("bound", [stage.IN_MEMORY_BYTES, 0])
@settings(max_examples=5, deadline=None)
@given(steps=STEPS)
def test_no_key_is_stored_twice(
    policy: OnDuplicate, bound: int, steps: list[tuple[str, int, list[tuple[int, str]]]]
) -> None:
    data = Dataset("d", push(), key="k", contract=CONTRACT, on_duplicate=policy)
    current: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "IN_MEMORY_BYTES", bound)
        patch.setattr(table_compaction, "_STEPS", ((16_384, 3), (262_144, 3)))
        patch.setattr(hash_runs, "_FANOUT", 2)
        patch.setattr(hash_shelf, "_IN_MEMORY", 2)
        patch.setattr(hash_shelf, "_PIECE", 3)
        both = list(machines(Path(name)))
        for action, machine, rows in steps:
            stores = both[machine]
            lake = Lake(stores)
            runs = sorted((stores.local / "index").rglob("*.run"))
            if action in {"push", "die"}:
                table = [{"k": k, "v": v} for k, v in rows]
                if action == "die":
                    with pytest.raises(DiedError):
                        Lake(stores, on_stage=dying).push(data, table)
                lake.push(data, table)  # after a death it completes what was committed, and adds nothing
                for k, v in rows:
                    if policy == "upsert" or k not in current:
                        current[k] = v
            elif action == "compact":
                lake.compact("d")
            elif action == "damage" and runs:
                content = bytearray(runs[-1].read_bytes())
                content[-1] ^= 1
                runs[-1].unlink()
                runs[-1].write_bytes(content[: len(content) // 2] if len(rows) % 2 else content)
            elif action == "forget" and runs:
                runs[0].unlink()
            elif action == "erase" and current:
                lake.erase("d", "k", [rows[0][0]], reason="asked", by="owner")
                current.pop(rows[0][0], None)
                assert not list((stores.local / "index").rglob("*.run"))
            if current:
                found = lake.read("d").select(["k", "v"]).to_pylist()
                assert sorted((row["k"], row["v"]) for row in found) == sorted(current.items())
        for stores in both:
            stores.close()


def test_superseded_rows_are_read_in_the_order_of_their_pushes(stores: Stores) -> None:
    data = Dataset("d", push(), key="k", contract=CONTRACT, on_duplicate="upsert")
    lake = Lake(stores)
    for number in range(4):  # at one moment of the clock
        lake.push(data, [{"k": 2 * number, "v": "a"}, {"k": 2 * number + 1, "v": "a"}])
    lake.push(data, [{"k": 3, "v": "b"}, {"k": 0, "v": "b"}])
    for _ in range(2):
        assert lake.read("d")["k"].to_pylist() == [1, 2, 4, 5, 6, 7, 3, 0]
        assert lake.read("d", columns=["k"], limit=3)["k"].to_pylist() == [1, 2, 4]
        lake.compact("d")


def test_rows_with_new_keys_are_not_compared(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset("d", push(), key="k", contract=[*CONTRACT, unique("v")])
    lake = Lake(stores)
    lake.push(data, [{"k": 1, "v": "a"}])
    with monkeypatch.context() as patch:
        patch.setattr(identity.Identity, "judge", None)
        for number in range(2, 5):
            assert lake.push(data, [{"k": number, "v": f"v{number}"}]).rows_accepted == 1
    again = lake.push(data, [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}, {"k": 9, "v": "v3"}, {"k": 10, "v": "new"}])
    assert (again.rows_accepted, again.rows_duplicate, again.rows_quarantined) == (1, 1, 2)
    assert again.reasons == {"key(k)": 1, "unique(v)": 1}
    assert len(list((stores.local / "index" / "d").iterdir())) == 2


def test_a_table_that_took_the_place_of_another_is_read_anew(tmp_path: Path) -> None:
    """The same versions with other commits, as after a restore, do not pass for those the runs were made from."""
    data = Dataset("d", push(), key="k", contract=CONTRACT)
    for name, kept in (("one", 7), ("two", 8)):
        stores = open_stores(Settings.load(tmp_path / name, environ={}))
        Lake(stores).push(data, [{"k": kept, "v": "a"}])
        stores.close()
    shutil.rmtree(tmp_path / "two/.loopwright/index")
    shutil.copytree(tmp_path / "one/.loopwright/index", tmp_path / "two/.loopwright/index")
    stores = open_stores(Settings.load(tmp_path / "two", environ={}))
    report = Lake(stores).push(data, [{"k": 7, "v": "a"}, {"k": 8, "v": "a"}])
    assert (report.rows_accepted, report.rows_duplicate) == (1, 1)
    stores.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage import hash_runs
from loopwright.core.storage.hash_runs import HashRuns
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push

hash_runs._FANOUT = 2

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def killed(name):
    def told(reached):
        if reached == name:
            die()
    return told

def after(method):
    def called(self, *given):
        method(self, *given)
        die()
    return called

for number, place in enumerate(sys.argv[2:]):
    child = os.fork()
    if not child:
        if place == "draft":
            HashRuns.publish = die
        elif place == "run":
            HashRuns.publish = after(HashRuns.publish)
        elif place == "merge":
            hash_runs._drop = die
        stores = open_stores(Settings.load(Path(sys.argv[1]), environ={}))
        data = Dataset("d", push(), key="k", contract=[column("k", "int"), column("v", "string")])
        lake = Lake(stores, on_stage=killed(place))
        for turn in range(3):
            lake.push(data, [{"k": 10 * number + turn, "v": "a"}])
        os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(place, status, flush=True)
"""


def test_killed_around_the_writing_of_a_run(stores: Stores, tmp_path: Path) -> None:
    """SIGKILL before a run is written, between its draft and its name, after it, and in the middle of a merge."""
    places = ["staged", "committed", "draft", "run", "merge", "recorded"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *places], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [word for place in places for word in (place, str(-signal.SIGKILL))]
    lake = Lake(stores)
    data = Dataset("d", push(), key="k", contract=CONTRACT)
    numbers = [10 * number + turn for number in range(len(places)) for turn in range(3)]
    lake.push(data, [{"k": number, "v": "a"} for number in numbers])
    lake.push(data, [{"k": number, "v": "a"} for number in numbers])
    assert sorted(lake.read("d")["k"].to_pylist()) == numbers
