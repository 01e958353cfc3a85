"""The verbs about versions: what they say, what bad input gets, and who may do what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from loopwright.app.cli.main import main

PROJECT = """
import loopwright as lw

loop = lw.Loop("clinic")
loop.dataset(
    "visits",
    source=lw.files("in/*.csv"),
    key="id",
    contract=[
        lw.column("id", "int"),
        lw.column("patient", "string"),
        lw.column("weight", "float", at_least=0, sensitive="restrict"),
    ],
)
"""


class Asked:
    """What a command said."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code = code
        self.out = out
        self.error = error

    @property
    def json(self):
        assert self.code == 0, self.error
        return json.loads(self.out)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Asked]:
    (tmp_path / "loop.py").write_text(PROJECT)
    (tmp_path / "in").mkdir()

    def run(*words: str, token: str | None = None) -> Asked:
        if token is None:
            monkeypatch.delenv("LOOPWRIGHT_ACCESS_TOKEN", raising=False)
        else:
            monkeypatch.setenv("LOOPWRIGHT_ACCESS_TOKEN", token)
        with pytest.raises(SystemExit) as ended:
            main([*words, "--project", str(tmp_path)])
        said = capsys.readouterr()
        return Asked(int(ended.value.code or 0), said.out, said.err)

    for day in range(3):
        (tmp_path / f"in/{day}.csv").write_text(
            f"id,patient,weight\n{day},ann,61.5\n{day + 10},bo,80\n{day + 20},cy,x\n"
        )
        assert run("data", "ingest").code == 0
    return run


def refused(asked: Asked, *words: str, code: int = 2) -> None:
    """Check that a command ended with one message that says these words, and no traceback."""
    assert asked.code == code, asked.out
    assert "Traceback" not in asked.error
    for word in words:
        assert word in " ".join(asked.error.split()), asked.error


def test_tag(ask: Callable[..., Asked]) -> None:
    assert ask("data", "tag", "visits@1", "first", "--reason", "audit", "--json").json[0]["version_after"] == 1
    assert ask("data", "tag", "visits", "fixed", "--immutable").code == 0
    found = ask("data", "tag", "visits", "--json").json
    assert [(one["name"], one["version"], one["immutable"]) for one in found] == [
        ("first", 1, False),
        ("fixed", 3, True),
    ]
    assert ask("data", "export", "visits@first", "/dev/null/x").code != 0
    refused(ask("data", "tag", "visits@1", "fixed"), "immutable", "Use a new tag", code=3)
    refused(ask("data", "tag", "visits@1", "latest"), "'latest' is taken")
    refused(ask("data", "tag", "visits@9", "ninth"), "visits@9")
    refused(ask("data", "tag", "nothing", "x"), "nothing")
    refused(ask("data", "tag", "visits", "fixed", "--remove"), "immutable", code=3)
    assert ask("data", "tag", "visits", "first", "--remove", "--json").json[0]["version_after"] is None


def test_hold(ask: Callable[..., Asked]) -> None:
    (held,) = ask(
        "data", "hold", "case-1", "dataset:visits", "--reason", "law suit", "--until", "2999-01-31", "--json"
    ).json
    assert (held["name"], held["reason"], held["until"][:10]) == ("case-1", "law suit", "2999-01-31")
    assert "law suit" in ask("data", "hold").out
    refused(ask("data", "erase", "visits", "--key", "patient", "--value", "ann", "--reason", "r", "--yes"),
            "case-1", "data hold --release case-1", code=3)  # fmt: skip
    refused(ask("data", "hold", "case-2"), "needs something to hold")
    refused(ask("data", "hold", "case-2", "visits", "--reason", "r"), "dataset:orders")
    refused(ask("data", "hold", "case-2", "run:1", "--reason", "r"), "cannot name 'run:1'")
    refused(ask("data", "hold", "case-2", "dataset:visits"), "person and a reason")
    refused(ask("data", "hold", "case-2", "dataset:visits", "--reason", "r", "--until", "soon"), "'soon' is no day")
    refused(ask("data", "hold", "case-2", "dataset:visits", "--reason", "r", "--until", "1999-01-01"), "has passed")
    refused(ask("data", "hold", "case-2", "--release"), "case-2")
    assert ask("data", "hold", "case-1", "--release", "--json").json == []


def test_erase(ask: Callable[..., Asked], tmp_path: Path) -> None:
    by_ann = ("data", "erase", "visits", "--key", "patient", "--value", "ann")
    refused(ask("data", "erase", "nothing", "--key", "patient", "--value", "ann", "--reason", "r", "--yes"), "nothing")
    refused(
        ask("data", "erase", "visits", "--key", "patients", "--value", "ann", "--reason", "r", "--yes"), "'patient'"
    )
    refused(ask(*by_ann, "--yes"), "person and a reason")
    refused(ask("data", "erase", "visits", "--key", "patient", "--reason", "r", "--yes"), "at least one value")
    refused(ask("data", "erase", "visits", "--key", "id", "--value", "x", "--reason", "r", "--yes"), "no BIGINT")
    assert ask("data", "erase", "visits", "--json").json == []
    (done,) = ask(*by_ann, "--reason", "asked for it", "--yes", "--json").json
    assert (done["status"], done["report"]["rows"], done["report"]["snapshots"]) == ("done", 3, 3)
    assert "ann" not in json.dumps(done["report"])
    assert "asked for it" in ask("data", "erase", "visits").out
    assert ask("data", "export", "visits@1", str(tmp_path / "first.csv")).code == 0
    assert [line.split(",")[1] for line in (tmp_path / "first.csv").read_text().split()] == ["patient", "bo"]


def test_gc_restore_and_retention(ask: Callable[..., Asked], tmp_path: Path) -> None:
    found = ask("data", "retention", "--json").json
    assert (found["policy"]["keep"], found["collectable"]) == (30 * 86400, [])
    assert "everything else" in ask("data", "retention").out
    (tmp_path / "loopwright.toml").write_text('[retention]\nkeep = "0s"\nquarantine = "0s"\n')
    (found,) = ask("data", "retention", "--json").json["collectable"]
    assert (found["table"], found["rows"]) == ("quarantine/visits", 3)
    looked = ask("gc", "--dry-run", "--json").json
    made = ask("gc", "--json").json
    assert {one["name"] for one in made["found"]} == {one["name"] for one in looked["found"]} >= {"quarantine/visits"}
    trash = ask("data", "restore", "--json").json
    assert [(one["id"], one["status"]) for one in trash] == [(made["id"], "kept")]
    assert ask("data", "restore", made["id"], "--json").json[0]["status"] == "restored"
    refused(ask("data", "restore", "nothing"), "collection 'nothing'")
    (tmp_path / "loopwright.toml").write_text('[retention]\nkeep = "soon"\n')
    refused(ask("data", "retention"), "soon")


def test_tiering(ask: Callable[..., Asked]) -> None:
    plan = ask("data", "tiering", "--provider", "gcp", "--cold-after", "0s", "--json").json
    assert {one["prefix"] for one in plan["groups"]} >= {"tables/datasets/visits/"}
    assert "USD a month" in ask("data", "tiering").out
    assert "Rules" in ask("data", "tiering", "--rules").out
    refused(ask("data", "tiering", "--provider", "nobody"), "nobody", "aws")
    refused(ask("data", "tiering", "--cold-after", "soon"), "soon")


def test_rows_of_a_snapshot_by_its_name(ask: Callable[..., Asked]) -> None:
    assert len(ask("data", "rows", "visits@1", "--json").json) < len(ask("data", "rows", "visits", "--json").json)
    refused(ask("data", "rows", "visits@99"), "99")
    refused(ask("data", "rows", "nobody@1"), "nobody")


def test_export(ask: Callable[..., Asked], tmp_path: Path) -> None:
    for name in ("rows", "rows.parquet", "rows.csv"):
        assert ask("data", "export", "visits@2", str(tmp_path / name), "--json").json["rows"] == 4
    assert DeltaTable(str(tmp_path / "rows")).count() == 4
    refused(ask("data", "export", "visits@2", str(tmp_path / "rows.txt")), "no export writes")
    refused(ask("data", "export", "visits@2", str(tmp_path / "rows")), "there already")
    refused(ask("data", "export", "visits@first", str(tmp_path / "new")), "first")


def test_roles(ask: Callable[..., Asked], tmp_path: Path) -> None:
    admin = ask("access", "create", "root", "--role", "admin", "--json").json["token"]
    tokens = {
        role: ask("access", "create", role, "--role", role, "--json", token=admin).json["token"]
        for role in ("viewer", "operator")
    }
    erase = ("data", "erase", "visits", "--key", "patient", "--value", "ann", "--reason", "r", "--yes", "--json")
    for role in ("viewer", "operator"):
        refused(ask(*erase, token=tokens[role]), f"{role} is {role}", "needs admin", code=3)
    refused(ask(*erase), "No token", code=3)
    assert ask(*erase, token=admin).json[0]["status"] == "done"
    target = str(tmp_path / "rows.csv")
    refused(ask("data", "export", "visits", target, token=tokens["viewer"]), "weight", code=3)
    assert not Path(target).exists()
    assert ask("data", "export", "visits", target, "--json", token=tokens["operator"]).json["rows"] == 3
    (read, *_) = ask("access", "audit", "--json", token=admin).json
    assert (read["reader"], read["columns"]) == ("operator", ["weight"])
    shown = ask("data", "diff", "visits", "1", "3", "--json", token=tokens["viewer"]).out
    assert "80.0" not in shown
