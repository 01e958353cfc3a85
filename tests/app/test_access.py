"""Access control at the command line: off until the first token, then by role, and on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.app.cli.main import main

PROJECT = """
import loopwright as lw

loop = lw.Loop("clinic")
loop.dataset(
    "visits",
    source=lw.files("visits.csv"),
    contract=[
        lw.column("patient", "string", sensitive="hash"),
        lw.column("ward", "category"),
        lw.column("weight", "float", at_least=0, sensitive="restrict"),
    ],
)
"""


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    (tmp_path / "loop.py").write_text(PROJECT)
    (tmp_path / "visits.csv").write_text("patient,ward,weight\nann,north,61.5\nbo,south,80.25\ncy,south,-1\n")

    def run(*words: str, token: str | None = None) -> tuple[int, str, str]:
        if token is None:
            monkeypatch.delenv("LOOPWRIGHT_ACCESS_TOKEN", raising=False)
        else:
            monkeypatch.setenv("LOOPWRIGHT_ACCESS_TOKEN", token)
        with pytest.raises(SystemExit) as ended:
            main([*words, "--project", str(tmp_path)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    run("data", "ingest")
    return run


def _token(ask: Callable, name: str, role: str, by: str | None = None) -> str:
    code, out, error = ask("access", "create", name, "--role", role, "--json", token=by)
    assert code == 0, error
    return json.loads(out)["token"]


def test_rows_show_as_the_role_allows(ask: Callable) -> None:
    code, out, _ = ask("data", "rows", "visits")
    assert (code, "61.5" in out, "ann" in out) == (0, True, False)
    admin = _token(ask, "ada", "admin")
    viewer, operator = _token(ask, "dash", "viewer", admin), _token(ask, "bob", "operator", admin)
    code, _, error = ask("data", "rows", "visits")
    assert code == 3
    assert "LOOPWRIGHT_ACCESS_TOKEN" in error
    code, out, _ = ask("data", "rows", "visits", token=viewer)
    assert (code, "61.5" in out, "•••" in out) == (0, False, True)
    code, out, _ = ask("data", "rows", "visits", "--where", "ward = 'south'", "--json", token=operator)
    assert [row["weight"] for row in json.loads(out)] == [80.25]
    code, out, _ = ask("access", "audit", "--json", token=admin)
    reads = json.loads(out)
    assert [(read["reader"], read["rows"]) for read in reads] == [("bob", 1), ("local", 2)]


def test_a_condition_on_a_hidden_column_needs_a_role_and_is_on_record(ask: Callable) -> None:
    admin = _token(ask, "ada", "admin")
    viewer, operator = _token(ask, "dash", "viewer", admin), _token(ask, "bob", "operator", admin)
    words = ("data", "rows", "visits", "--columns", "ward", "--where", "Weight > 80", "--json")
    code, out, error = ask(*words, token=viewer)
    assert (code, out) == (3, "")
    assert "a condition on weight needs operator" in error
    assert json.loads(ask(*words, token=operator)[1]) == [{"ward": "south"}]
    reads = json.loads(ask("access", "audit", "--json", token=admin)[1])
    assert [(read["reader"], read["columns"], read["rows"]) for read in reads] == [("bob", ["weight"], 1)]


def test_only_an_admin_makes_and_ends_tokens(ask: Callable) -> None:
    admin = _token(ask, "ada", "admin")
    viewer = _token(ask, "dash", "viewer", admin)
    code, _, error = ask("access", "create", "eve", "--role", "admin", token=viewer)
    assert code == 3
    assert "dash is viewer, and making tokens needs admin" in error
    code, _, error = ask("access", "create", "eve", "--role", "boss", token=admin)
    assert code == 2
    assert "boss" in error
    assert ask("access", "revoke", "dash", token=admin)[0] == 0
    assert ask("data", "rows", "visits", token=viewer)[0] == 3
    code, out, _ = ask("access", "list", "--json", token=admin)
    assert [(one["name"], one["revoked_at"] is None) for one in json.loads(out)] == [("ada", True), ("dash", False)]


@pytest.mark.parametrize(
    "words",
    [
        ("data", "ingest"),
        ("data", "tag", "visits@latest", "kept"),
        ("data", "hold", "case", "dataset:visits", "--reason", "a law suit"),
        ("data", "quarantine", "replay", "visits"),
        ("gc",),
        ("run",),
    ],
    ids=" ".join,
)
def test_a_viewer_changes_nothing(ask: Callable, words: tuple[str, ...]) -> None:
    admin = _token(ask, "ada", "admin")
    viewer = _token(ask, "dash", "viewer", admin)
    code, _, error = ask(*words, token=viewer)
    assert code == 3, error
    assert "dash is viewer, and" in error
    assert "needs operator" in error


def test_an_export_counts_as_all_its_rows(ask: Callable, tmp_path: Path) -> None:
    assert ask("data", "export", "visits@latest", str(tmp_path / "out.parquet"))[0] == 0
    reads = json.loads(ask("access", "audit", "--json")[1])
    assert [(read["rows"], read["purpose"]) for read in reads] == [(2, "data export visits@1")]


def test_an_inferred_contract_keeps_what_is_sensitive(ask: Callable) -> None:
    _, out, _ = ask("data", "infer", "visits")
    assert "sensitive='hash'" in out.replace('"', "'")
    assert "sensitive='restrict'" in out.replace('"', "'")


def test_a_wrong_condition_is_one_message(ask: Callable) -> None:
    code, _, error = ask("data", "rows", "visits", "--where", "wart = 'south'")
    assert code == 2
    assert "Traceback" not in error
    assert "wart" in error
    code, _, error = ask("data", "rows", "visits", "--columns", "wart")
    assert code == 2
    assert "where" not in error


def test_a_dataset_without_its_source_keeps_no_other_from_being_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f'loop.dataset("{name}", source=lw.sql("sqlite:///{name}.db", table="t"))' for name in ("one", "two")]
    lines.append('loop.dataset("visits", source=lw.files("*.csv"))')
    (tmp_path / "loop.py").write_text("\n".join(["import loopwright as lw", 'loop = lw.Loop("clinic")', *lines]))
    (tmp_path / "visits.csv").write_text("patient,ward\nann,north\n")
    with pytest.raises(SystemExit) as ended:
        main(["data", "ingest", "--project", str(tmp_path)])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "visits: 1 rows in" in said.out
    assert "2 datasets got nothing.\n  one: " in said.err
