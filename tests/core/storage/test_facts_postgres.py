"""The facts on a real PostgreSQL server, started here on a socket of its own and a loopback port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from tests.servers import postgresql

from loopwright.core.lineage import lineage_edges
from loopwright.core.storage.facts import Facts

pytest.importorskip("psycopg")
PROCESSES, WRITES = 8, 100
WRITER = """
import sys
from datetime import UTC, datetime
import sqlalchemy as sa
from loopwright.core.lineage import lineage_edges
from loopwright.core.storage.facts import Facts
url, worker, writes = sys.argv[1], sys.argv[2], int(sys.argv[3])
facts = Facts(url)
for number in range(writes):
    row = {"source": f"w:{worker}", "target": f"n:{number}", "relation": "r", "linked_at": datetime.now(UTC)}
    with facts.write() as connection:
        connection.execute(sa.insert(lineage_edges).values(row))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql("loop") as address:
        yield f"postgresql://loop@{address}"


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """A database of its own for each test."""
    name = request.node.name
    engine = sa.create_engine(f"{server}/postgres".replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return f"{server}/{name}"


def edge(source: str, target: str) -> dict[str, object]:
    return {"source": source, "target": target, "relation": "r", "linked_at": datetime(2026, 1, 1, tzinfo=UTC)}


def count(facts: Facts) -> int:
    with facts.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(lineage_edges)).scalar_one()


def test_processes_write_side_by_side(url: str) -> None:
    Facts(url).close()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(number), str(WRITES)]) for number in range(PROCESSES)
    ]
    assert [writer.wait() for writer in writers] == [0] * PROCESSES
    facts = Facts(url)
    assert count(facts) == PROCESSES * WRITES
    facts.close()


def test_a_write_is_whole_or_not_there(url: str) -> None:
    facts = Facts(url)

    def abandoned() -> None:
        with facts.write() as connection:
            connection.execute(sa.insert(lineage_edges).values(edge("a:1", "b:1")))
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        abandoned()
    assert count(facts) == 0
    facts.close()


def test_insert_missing_upsert_and_times(url: str) -> None:
    facts = Facts(url)
    with facts.write() as connection:
        assert facts.insert_missing(connection, lineage_edges, [edge("a:1", "b:1"), edge("a:1", "b:2")]) == 2
        assert facts.insert_missing(connection, lineage_edges, [edge("a:1", "b:1"), edge("a:1", "b:3")]) == 1
        facts.upsert(connection, lineage_edges, edge("a:1", "b:1"))
        stored = connection.execute(sa.select(lineage_edges.c.linked_at)).scalars().first()
    assert stored == datetime(2026, 1, 1, tzinfo=UTC)
    assert count(facts) == 3
    facts.close()


def test_the_change_counter_moves_with_commits_of_others(url: str) -> None:
    follower, writer = Facts(url), Facts(url)
    first = follower.change_counter()
    assert follower.change_counter() == first
    with writer.write() as connection:
        connection.execute(sa.insert(lineage_edges).values(edge("a:1", "b:1")))
    assert follower.change_counter() != first
    follower.close()
    writer.close()
