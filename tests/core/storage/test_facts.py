from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.forks import Forks

from loopwright.core.errors import SettingsError, StoreBusyError, StoreCorruptError
from loopwright.core.lineage import lineage_edges
from loopwright.core.storage import facts as facts_module
from loopwright.core.storage.facts import Facts

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES, WRITES = 16, 1000


def edge(source: str, target: str) -> dict[str, object]:
    return {"source": source, "target": target, "relation": "r", "linked_at": datetime(2026, 1, 1, tzinfo=UTC)}


def count(facts: Facts) -> int:
    with facts.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(lineage_edges)).scalar_one()


WRITER = """
from datetime import UTC, datetime
import sqlalchemy as sa
from loopwright.core.lineage import lineage_edges
from loopwright.core.storage.facts import Facts

def main(url, worker, writes):
    facts = Facts(url)
    for number in range(writes):
        row = {"source": f"w:{worker}", "target": f"n:{number}", "relation": "r", "linked_at": datetime.now(UTC)}
        with facts.write() as connection:
            connection.execute(sa.insert(lineage_edges).values(row))
"""


def test_sixteen_processes_write_a_thousand_times_each(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loop.db"
    Facts(url).close()
    with Forks(WRITER) as forks:
        forks.together(*((url, worker, WRITES) for worker in range(PROCESSES)))
    facts = Facts(url)
    assert count(facts) == PROCESSES * WRITES
    facts.close()


def test_a_write_is_whole_or_not_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loop.db"
    Facts(url).close()
    script = f"""
import os, signal, sqlalchemy as sa
from datetime import datetime, UTC
from loopwright.core.storage.facts import Facts
from loopwright.core.lineage import lineage_edges
facts = Facts({url!r})
number = 0
while True:
    with facts.write() as connection:
        for half in "ab":
            connection.execute(sa.insert(lineage_edges).values(
                source=f"{{half}}:{{number}}", target="t:1", relation="r", linked_at=datetime.now(UTC)))
            if number == 25 and half == "a":
                os.kill(os.getpid(), signal.SIGKILL)
    number += 1
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    facts = Facts(url)
    assert count(facts) == 50
    facts.close()


def test_a_held_lock_ends_in_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "BUSY_SECONDS", 0)
    facts = Facts(f"sqlite:///{tmp_path}/loop.db")
    holder = sqlite3.connect(tmp_path / "loop.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="locked"), facts.write():
        pass
    holder.close()
    facts.close()


def test_readers_see_one_moment_and_never_wait(tmp_path: Path) -> None:
    facts = Facts(f"sqlite:///{tmp_path}/loop.db")
    with facts.read() as reader:
        before = reader.execute(sa.select(sa.func.count()).select_from(lineage_edges)).scalar_one()
        with facts.write() as writer:
            writer.execute(sa.insert(lineage_edges).values(edge("a:1", "b:1")))
        again = reader.execute(sa.select(sa.func.count()).select_from(lineage_edges)).scalar_one()
    assert (before, again, count(facts)) == (0, 0, 1)
    facts.close()


def test_the_change_counter_moves_with_commits_of_others_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loop.db"
    follower, writer = Facts(url), Facts(url)
    first = follower.change_counter()
    assert follower.change_counter() == first
    with writer.write() as connection:
        connection.execute(sa.insert(lineage_edges).values(edge("a:1", "b:1")))
    assert follower.change_counter() != first
    follower.close()
    writer.close()


def test_insert_missing_and_upsert(tmp_path: Path) -> None:
    facts = Facts(f"sqlite:///{tmp_path}/loop.db")
    with facts.write() as connection:
        assert facts.insert_missing(connection, lineage_edges, [edge("a:1", "b:1"), edge("a:1", "b:2")]) == 2
        assert facts.insert_missing(connection, lineage_edges, [edge("a:1", "b:1"), edge("a:1", "b:3")]) == 1
        facts.upsert(connection, lineage_edges, edge("a:1", "b:1"))
    assert count(facts) == 3
    facts.close()


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(StoreCorruptError, match="damaged"):
        Facts(f"sqlite:///{tmp_path}/loop.db")


def test_memory_is_refused() -> None:
    with pytest.raises(SettingsError, match="needs a file"):
        Facts("sqlite:///:memory:")
