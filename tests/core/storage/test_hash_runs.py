"""Runs of hashes against a plain set: whatever is added, merged, torn or mixed up, no answer is wrong."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.storage import hash_runs, hash_shelf
from loopwright.core.storage.hash_runs import HashRuns, remove_runs
from loopwright.core.storage.hash_shelf import HashShelf

NUMBERS = st.lists(st.integers(0, 60), max_size=12)


def hashes(values: list[int]) -> hash_runs.Hashes:
    return np.array(sorted(values), dtype=np.uint64)


def add(runs: HashRuns, values: list[int], until: int) -> None:
    runs.publish(runs.draft([hashes(values)]), until, f"mark {until}")


@settings(max_examples=25, deadline=None)
@given(commits=st.lists(NUMBERS, max_size=30), asked=NUMBERS, small=st.sampled_from([2, 8, 2_048]))
def test_finds_what_was_added(commits: list[list[int]], asked: list[int], small: int) -> None:
    there: set[int] = set()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_runs, "_SMALL", small)
        place = Path(folder) / "runs"
        for number, values in enumerate(commits, start=1):
            add(HashRuns(place, "a"), values, number)
            there.update(values)
        runs = HashRuns(place, "a")
        assert runs.until == len(commits)
        assert runs.mark == (f"mark {len(commits)}" if commits else None)
        assert len(runs) < 24
        assert runs.find(hashes(asked)).tolist() == [value in there for value in sorted(asked)]
        assert HashRuns(place, "of something else").until == 0
        assert HashRuns(place, "a").until == 0  # what was of something else is gone


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_file_ends_what_counts(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for number in range(1, 6):
            add(HashRuns(place, "a"), [number, 100 + number], number)
        path = data.draw(st.sampled_from(sorted(place.glob("*.run"))))
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        else:
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.unlink()
        path.write_bytes(content)
        after = int(path.name.split("-")[0])
        runs = HashRuns(place, "a")
        assert runs.until == after
        assert runs.find(hashes([1, 2, 3, 4, 5])).tolist() == [number <= after for number in range(1, 6)]
        add(runs, [7], 9)
        assert HashRuns(place, "a").find(hashes([5, 7])).tolist() == [False, True]


def test_a_merge_that_was_cut_off_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 8):
        add(HashRuns(tmp_path / "runs", "a"), [number], number)
    shutil.copytree(tmp_path / "runs", tmp_path / "before")
    add(HashRuns(tmp_path / "runs", "a"), [8], 8)
    assert [path.name for path in (tmp_path / "runs").glob("*.run")] == ["0-8.run"]
    for path in (tmp_path / "before").glob("*.run"):  # as where the merged ones were not deleted yet
        shutil.copy(path, tmp_path / "runs")
    runs = HashRuns(tmp_path / "runs", "a")
    assert (runs.until, len(runs)) == (8, 1)
    assert [path.name for path in (tmp_path / "runs").glob("*.run")] == ["0-8.run"]
    monkeypatch.setattr(hash_runs, "_MOST_OPEN", 1)
    assert runs.find(hashes([8, 9])).tolist() == [True, False]
    remove_runs(tmp_path / "runs")
    assert HashRuns(tmp_path / "runs", "a").until == 0


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 5), st.booleans()), max_size=20)),
    asked=st.lists(st.integers(0, 5), min_size=1),
    sizes=st.sampled_from([(1, 3, 2), (4, 7, 3), (1 << 20, 1 << 20, 1 << 20)]),
)
def test_a_shelf_gives_all_in_order(
    batches: list[list[tuple[int, bool]]], asked: list[int], sizes: tuple[int, int, int]
) -> None:
    rows = [row for batch in batches for row in batch]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("_IN_MEMORY", "_PIECE", "_CHUNK"), sizes, strict=True):
            patch.setattr(hash_shelf, name, value)
        with HashShelf(Path(folder)) as shelf:
            for batch in batches:
                shelf.add(
                    np.array([one for one, _ in batch], dtype=np.uint64), np.array([one for _, one in batch], np.bool_)
                )
            pieces = [piece.tolist() for piece in shelf.ascending()]
            together = [one for piece in pieces for one in piece]
            assert together == sorted(one for one, counts in rows if counts)
            assert all(a[-1] < b[0] for a, b in itertools.pairwise(pieces) if a and b)
            found = shelf.positions(np.unique(np.array(asked, dtype=np.uint64))).tolist()
            assert found == [place for place, (one, counts) in enumerate(rows) if counts and one in asked]
