import pytest

from loopwright.core.ref import Ref
from loopwright.core.storage.stores import Stores


def test_walks_both_ways(stores: Stores) -> None:
    file, snapshot, run, model = Ref("file", "a.csv"), Ref("snapshot", "o@1"), Ref("run", "r"), Ref("model", "m/1")
    lineage = stores.lineage
    lineage.link_many([(file, snapshot, "ingested"), (snapshot, run, "trained_on"), (run, model, "registered")])
    lineage.link(file, snapshot, "ingested")
    assert [(edge.source, edge.depth) for edge in lineage.ancestors(model)] == [(run, 1), (snapshot, 2), (file, 3)]
    assert [edge.target for edge in lineage.descendants(file)] == [snapshot, run, model]
    assert lineage.ancestors(file) == []


def test_a_cycle_ends(stores: Stores) -> None:
    a, b = Ref("x", "a"), Ref("x", "b")
    stores.lineage.link_many([(a, b, "r"), (b, a, "r")])
    assert len(stores.lineage.ancestors(a)) == 2


def test_an_edge_belongs_to_its_transaction(stores: Stores) -> None:
    def abandoned() -> None:
        with stores.facts.write() as connection:
            stores.lineage.link(Ref("x", "a"), Ref("x", "b"), "r", connection=connection)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        abandoned()
    assert stores.lineage.ancestors(Ref("x", "b")) == []


def test_refs_read_back() -> None:
    assert Ref.parse(str(Ref("file", "a:b/c"))) == Ref("file", "a:b/c")
    with pytest.raises(ValueError, match="kind:id"):
        Ref.parse("nothing")
