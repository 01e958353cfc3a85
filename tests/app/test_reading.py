"""Every verb that reads: its JSON parses and holds what is documented, and its text is for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

FIELDS = {
    ("status",): {"loop", "server", "turning", "datasets", "models", "streams", "last_turn", "waiting", "next_at"},
    ("data", "list"): {"dataset", "snapshot", "quarantined"},
    ("data", "history", "parcels"): {"dataset", "version", "rows", "created_at", "ingest_id"},
    ("data", "diff", "parcels", "1", "1"): {"rows_added", "rows_removed", "rows_changed", "columns"},
    ("data", "quarantine", "parcels"): {"reasons", "rows"},
    ("data", "ingest"): {"dataset", "rows_accepted", "rows_quarantined", "reasons", "warnings", "refused", "snapshot"},
    ("runs", "list"): {"id", "model", "status", "started_at", "finished_at", "metrics", "params"},
    ("models", "list"): {"id", "model", "version", "aliases", "verdict", "signature", "metrics"},
    ("models", "show", "price"): {"version", "verdict", "lineage"},
    ("models", "compare", "price/1", "price/1"): {"versions", "figures"},
    ("models", "history", "price"): {"move", "from_version", "to_version", "moved_by", "verdict_id", "override_reason"},
    ("turns", "list"): {"turns", "waiting"},
    ("why", "price/1"): {"subject", "version", "lineage", "sources"},
    ("why", "model:price/1"): {"subject", "version", "lineage", "sources"},
    ("why", "parcels:p7"): {"subject", "row"},
    ("gc", "--dry-run"): {"keep_seconds", "removed", "size_bytes", "found", "left_alone"},
    ("run",): {"turn", "nothing_new", "trained"},
}


@pytest.mark.parametrize("words", FIELDS, ids=" ".join)
def test_json_has_the_documented_fields(command: Callable, words: tuple[str, ...]) -> None:
    said = command(*words, "--json")
    assert said.code == 0, said.error
    document = json.loads(said.out)
    first = document[0] if isinstance(document, list) else document
    assert FIELDS[words] <= set(first)


@pytest.mark.parametrize("words", FIELDS, ids=" ".join)
def test_text_is_plain_in_a_pipe(command: Callable, words: tuple[str, ...]) -> None:
    """No escape codes, no frames, no traceback; something is said."""
    said = command(*words)
    assert said.code == 0, said.error
    assert said.out.strip()
    assert "\x1b" not in said.out
    assert not re.search("[─│┌└]", said.out)


def test_details_by_id(command: Callable) -> None:
    (run,) = json.loads(command("runs", "list", "--json").out)
    shown = json.loads(command("runs", "show", run["id"], "--json").out)
    assert shown["run"]["id"] == run["id"]
    assert shown["run"]["status"] == "finished"
    assert run["id"] in command("runs", "show", run["id"]).out
    assert "learning from" in command("runs", "log", run["id"]).out
    compared = json.loads(command("runs", "compare", run["id"], run["id"], "--json").out)
    assert compared["run_ids"] == [run["id"], run["id"]]
    turn = json.loads(command("turns", "list", "--json").out)["turns"][0]
    steps = json.loads(command("turns", "show", turn["id"], "--json").out)["steps"]
    assert next(step["name"] for step in steps) == "ingest parcels"
    assert "train price" in command("turns", "show", turn["id"]).out


def test_what_a_person_sees(command: Callable) -> None:
    status = command("status").out
    assert "champion price/1" in status
    assert "server: not running" in status
    assert re.search(r"parcels\s+1\s+200\s+1", status)
    kept_out = command("data", "quarantine", "parcels").out
    assert re.search(r"data/a\.csv\s+200", kept_out)
    assert "at_least" in kept_out
    why = command("why", "parcels:p7").out
    assert "row 7 of data/a.csv" in why
    assert "snapshot:parcels@1" in why
    assert "No open incident." in command("incidents", "list").out
    assert json.loads(command("incidents", "list", "--json").out) == []
    assert "price/1 is champion" not in command("run").out, "nothing new"


def test_a_dry_run_says_what_is_kept(command: Callable) -> None:
    assert "Nothing older than 30d can go." in command("gc", "--dry-run").out
    found = json.loads(command("gc", "--dry-run", "--json").out)
    assert found["removed"] is False
    assert found["size_bytes"] == 0


def test_predict_prints_json(command: Callable, turned, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ('[{"weight_kg": 3}]', '{"weight_kg": 3}'):
        answer = json.loads(command("predict", "price", given).out)
        assert abs(answer["predictions"][0] - 9) < 1e-6
        assert (answer["model"], answer["version"]) == ("price", 1)
    lines = turned / "rows.jsonl"
    lines.write_text('{"weight_kg": 3}\n{"weight_kg": 4}\n')
    assert len(json.loads(command("predict", "price/1", str(lines)).out)["predictions"]) == 2


def test_a_finished_training_cannot_be_stopped(command: Callable) -> None:
    (run,) = json.loads(command("runs", "list", "--json").out)
    said = command("runs", "stop", run["id"])
    assert said.code == 3
    assert "is finished already" in said.error
