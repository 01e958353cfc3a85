"""`loopwright score`: what it prints, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def score(turned, tmp_path, bare):
    project = shutil.copytree(turned, tmp_path / "project")

    def ask(*words):
        return bare("score", *words, "--project", str(project))

    ask.project = project
    return ask


ROWS = ("price", "--dataset", "parcels", "--workers", "0")


def test_scoring_says_what_it_did_and_that_it_is_done(score):
    said = score(*ROWS, "--to", "lake", "--log")
    assert said.code == 0
    assert said.out.startswith("price/1 scored 200 of 200 rows into lake:price in ")
    again = score(*ROWS, "--to", "lake", "--log")
    assert "Nothing to do: job " in again.out
    anew = json.loads(score(*ROWS, "--to", "lake", "--log", "--again", "--json").out)
    assert (anew["state"], anew["scored"], anew["rejected"], anew["nothing_new"]) == ("done", 200, 0, False)
    assert anew["snapshots"] == {"parcels": 1}
    listed = json.loads(score("list", "--json").out)
    assert [one["state"] for one in listed] == ["done", "done"]
    assert listed[0]["id"] == anew["id"]
    assert "price/1  done" in score("list").out
    shown = score("show", anew["id"])
    assert "200: 200 scored, 0 rejected" in shown.out
    assert json.loads(score("show", anew["id"], "--json").out)["id"] == anew["id"]


def test_rejects_are_told(score):
    (score.project / "rows.csv").write_text("weight_kg\n3\nheavy\n")
    said = score("model", "price", "--files", "rows.csv", "--to", "out", "--format", "csv", "--workers", "0")
    assert said.code == 0
    assert "price/1 scored 1 of 2 rows" in said.out
    assert "1 rows cannot be scored; the reasons are in" in said.out
    assert (score.project / "out/rejects-00000.csv").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("price", "--to", "lake"), 2, "Say which rows to score."),
        (("price", "--to", "lake", "--sql", "db"), 2, "Say which rows to score."),
        (("price", "--to", "lake", "--dataset", "parcel"), 2, "Did you mean 'parcels'"),
        (("prise", "--to", "lake", "--dataset", "parcels"), 2, "Did you mean 'price'"),
        (("price", "--to", "s3://b/x", "--dataset", "parcels"), 2, "Scores go to the lake or to a folder"),
        (("price", "--to", "out", "--dataset", "parcels", "--format", "xls"), 2, "'xls' are not written"),
        (("price", "--to", "lake", "--dataset", "parcels", "--columns", "wight"), 2, "There is no column 'wight'"),
        (("price", "--to", "lake", "--files", "none/*.csv"), 1, "No file matches none/*.csv"),
        (("price", "--to", "lake", "--sql", "sqlite:///no.db", "--query", "SELECT 1"), 1, "there is no database"),
        (("price", "--to", "data", "--dataset", "parcels"), 2, "is not empty"),
        (("show", "01"), 2, "There is no score job '01'"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(score, words, code, said):
    answer = score(*words)
    assert answer.code == code
    assert said in answer.error
    assert "Traceback" not in answer.error


def test_a_job_that_is_not_done_can_be_given_up(score):
    assert score(*ROWS, "--to", "lake").code == 0
    job = json.loads(score("list", "--json").out)[0]["id"]
    assert json.loads(score("cancel", job, "--json").out)["state"] == "done", "what is done stays done"
