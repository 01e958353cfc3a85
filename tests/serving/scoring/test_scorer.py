"""Every source and destination, what is refused, and what is not done twice."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from loopwright.core.compute_local import LocalCompute
from loopwright.core.errors import FailedError, SourceError, UnknownNameError, UsageError
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.registry.registry import Registry
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.scoring.scorer import Scorer
from loopwright.serving.scoring.source import DatasetRows, FileRows, QueryRows

ROWS = 1_000


def expected(stores, table, model="eta"):
    registry = Registry(stores)
    names = [field.name for field in registry.get(model, "champion").signature.inputs]
    rows = {name: table[name].to_numpy() for name in names}
    return registry.load(registry.get(model, "champion")).predict(rows)


def write(table: pa.Table, path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path, **options)
        case ".csv":
            pyarrow.csv.write_csv(table, path)
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
        case ".arrow":
            pyarrow.feather.write_feather(table, path, compression="uncompressed")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_files_of_each_format_are_scored_into_the_lake(suffix, project, scored, scorer, request_of, make):
    table = make.numbers(ROWS)
    write(table.slice(0, 600), project / f"in/a{suffix}")
    write(table.slice(600), project / f"in/b{suffix}")
    done = scorer.score(request_of(FileRows(f"in/*{suffix}"), columns=("id", "city"), part_rows=300))
    assert (done.job.state, done.job.rows, done.job.scored, done.job.rejected) == ("done", ROWS, ROWS, 0)
    found = scored.tables.read("scores/eta").sort_by("row")
    assert found["row"].to_pylist() == list(range(ROWS))
    assert [int(one) for one in found["id"].to_pylist()] == list(range(ROWS))
    assert found["city"].to_pylist() == table["city"].to_pylist()
    np.testing.assert_allclose(found["prediction"].to_numpy(), expected(scored, table).values)
    assert set(found["job_id"].to_pylist()) == {done.job.id}
    assert set(found["version"].to_pylist()) == {1}


def test_a_query_is_scored_into_files(project, scored, scorer, request_of, make):
    table = make.numbers(200)
    with sqlite3.connect(project / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER, x0 REAL, x1 REAL, x2 REAL, x3 REAL)")
        rows = zip(*(table[name].to_pylist() for name in ("id", "x0", "x1", "x2", "x3")), strict=True)
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", list(rows))
    source = QueryRows("sqlite:///shop.db", "SELECT * FROM orders WHERE id < 150 ORDER BY id")
    asked = request_of(source, "out", format="csv", key=("id",), model="late")
    job = scorer.score(asked).job
    written = pyarrow.csv.read_csv(project / "out/part-00000.csv")
    outputs = expected(scored, table.slice(0, 150), "late")
    assert written["id"].to_pylist() == list(range(150))
    assert written["prediction"].to_pylist() == outputs.values.tolist()
    np.testing.assert_allclose(written["probability_soon"].to_numpy(), outputs.probabilities[:, 1], rtol=1e-6)
    manifest = json.loads((project / "out/_manifest.json").read_text())
    assert (manifest["job_id"], manifest["rows"], manifest["scored"], manifest["rejected"]) == (job.id, 150, 150, 0)
    assert [one["rows"] for one in manifest["files"]] == [150]
    assert scorer.score(asked).nothing_new, "the query gives the same rows"


@pytest.fixture
def orders(scored, make):
    lake = Lake(scored)
    dataset = Dataset("orders", push(), key="id", on_duplicate="upsert")
    lake.push(dataset, make.numbers(ROWS))
    return lake, dataset


def test_a_snapshot_is_scored_by_its_version(orders, scored, scorer, request_of, make):
    lake, dataset = orders
    job = scorer.score(request_of(DatasetRows("orders"), part_rows=400)).job
    assert (job.snapshots, job.scored) == ({"orders": 1}, ROWS)
    assert scorer.score(request_of(DatasetRows("orders"), part_rows=400)).nothing_new
    changed = make.numbers(10, seed=5)
    lake.push(dataset, changed)
    again = scorer.score(request_of(DatasetRows("orders"), part_rows=400))
    assert not again.nothing_new
    assert again.job.scored == ROWS, "the newest row of each key"
    found = scored.tables.read("scores/eta", where=f"job_id = '{again.job.id}'").sort_by("id")
    np.testing.assert_allclose(found["prediction"].to_numpy()[:10], expected(scored, changed).values)
    assert scorer.score(request_of(DatasetRows("orders@1"), part_rows=400)).job.scored == ROWS


def test_predictions_are_logged_once_under_the_ids_that_the_answers_have(orders, scored, scorer, request_of):
    del orders
    job = scorer.score(request_of(DatasetRows("orders"), log=True, part_rows=300)).job
    answers = scored.tables.read("scores/eta").sort_by("row")
    logged = PredictionTable(scored, "eta").read().sort_by("prediction_id")
    assert logged["prediction_id"].to_pylist() == answers["prediction_id"].to_pylist()
    assert logged["output_number"].to_pylist() == answers["prediction"].to_pylist()
    assert sorted(logged["key"].to_pylist(), key=int) == [str(one) for one in range(ROWS)]
    assert set(logged["route"].to_pylist()) == {"batch"}
    assert set(logged["request_id"].to_pylist()) == {job.id}
    assert json.loads(logged["features"][0].as_py()).keys() == {"x0", "x1", "x2", "x3"}


def test_rows_that_cannot_be_scored_are_put_aside(project, scored, scorer, request_of):
    (project / "bad.csv").write_text(
        "id,x0,x1,x2,x3\n1,1.5,2,3,4\n2,oops,2,3,4\n3,1,,3,4\n4,1,2,3,4,5,6\n5,1,2,3,NaN\n6,0.5,1e3,-3,4\n"
    )
    job = scorer.score(request_of(FileRows("bad.csv"), key=("id",))).job
    assert (job.rows, job.scored, job.rejected) == (6, 2, 4)
    rejects = scored.tables.read("score_rejects/eta").sort_by("source_row").to_pylist()
    assert [one["source_row"] for one in rejects] == [1, 2, 3, 4]
    assert [one["field"] for one in rejects] == ["x0", "x1", None, "x3"]
    assert rejects[0]["reason"] == "'x0' must be a number, got 'oops'."
    assert rejects[0]["key"] == "2"
    assert rejects[0]["source"] == "bad.csv"


def test_rejects_of_a_folder_stand_beside_its_answers(project, scorer, request_of, make):
    table = make.numbers(100)
    broken = table.set_column(2, "x0", pa.array([None if row == 17 else 1.0 for row in range(100)]))
    write(broken, project / "in.parquet")
    job = scorer.score(request_of(FileRows("in.parquet"), "out")).job
    assert (job.scored, job.rejected) == (99, 1)
    assert pq.read_table(project / "out/rejects-00000.parquet")["row"].to_pylist() == [17]


def test_what_is_wrong_is_said_before_anything_is_scored(project, scored, scorer, request_of, make):
    write(make.numbers(10), project / "in.parquet")
    write(make.numbers(0), project / "none.parquet")
    write(make.numbers(10).drop_columns(["x3"]), project / "narrow.parquet")
    (project / "torn.parquet").write_bytes(b"PAR1 and nothing")
    (project / "full").mkdir()
    (project / "full/other.txt").write_text("mine")
    refused = [
        (request_of(FileRows("in.parquet"), columns=("citty",)), UnknownNameError, "Did you mean 'city'"),
        (request_of(FileRows("in.parquet"), key=("nr",)), UnknownNameError, "column 'nr'"),
        (request_of(FileRows("none.parquet")), SourceError, "no rows in none.parquet"),
        (request_of(FileRows("narrow.parquet")), UsageError, "lacks x3, which eta/1 needs"),
        (request_of(FileRows("torn.parquet")), SourceError, "torn.parquet cannot be read"),
        (request_of(FileRows("absent/*.csv")), SourceError, "No file matches"),
        (request_of(FileRows("in.parquet"), "full"), UsageError, "is not empty"),
        (request_of(DatasetRows("orders")), UnknownNameError, "dataset"),
        (request_of(FileRows("in.parquet"), model="eat"), UnknownNameError, "Did you mean 'eta'"),
    ]
    for asked, kind, said in refused:
        with pytest.raises(kind, match=said):
            scorer.score(asked)
    assert scorer.jobs.latest() == []
    assert not scored.tables.exists("scores/eta")


def test_a_folder_of_another_job_is_refused(project, scorer, request_of, make):
    write(make.numbers(10), project / "in.parquet")
    scorer.score(request_of(FileRows("in.parquet"), "out"))
    write(make.numbers(20), project / "in.parquet")
    with pytest.raises(UsageError, match="holds the answers of another job"):
        scorer.score(request_of(FileRows("in.parquet"), "out"))


def test_a_new_champion_answers_a_new_job_and_an_open_job_keeps_its_version(project, scored, request_of, make):
    write(make.numbers(100), project / "in.parquet", row_group_size=25)
    lake, asked = Lake(scored), request_of(FileRows("in.parquet"), part_rows=25)

    def stop(stage):
        if stage == "part":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Scorer(scored, lake, compute=LocalCompute(0), on_stage=stop).score(asked)
    make.register(project, scored, run="second")
    resumed = Scorer(scored, lake, compute=LocalCompute(0)).score(asked)
    assert (resumed.resumed, resumed.job.version, resumed.job.scored) == (True, 1, 100)
    anew = Scorer(scored, lake, compute=LocalCompute(0)).score(asked)
    assert (anew.nothing_new, anew.job.version, anew.job.scored) == (False, 2, 100)
    assert scored.tables.count("scores/eta") == 200


def test_one_process_at_a_time_carries_a_job_out(project, scored, request_of, make):
    write(make.numbers(100), project / "in.parquet", row_group_size=25)
    lake, asked = Lake(scored), request_of(FileRows("in.parquet"), part_rows=25)
    refusals = []

    def intrude(stage):
        if stage == "part" and not refusals:
            with pytest.raises(FailedError, match="is being carried out by process") as refused:
                Scorer(scored, lake, compute=LocalCompute(0)).score(asked)
            refusals.append(refused.value)

    job = Scorer(scored, lake, compute=LocalCompute(0), on_stage=intrude).score(asked).job
    assert (job.scored, len(refusals)) == (100, 1)


def test_files_that_change_under_a_job_are_noticed(project, scored, request_of, make):
    write(make.numbers(100), project / "in.parquet", row_group_size=25)
    lake, asked = Lake(scored), request_of(FileRows("in.parquet"), part_rows=25)

    def stop(stage):
        if stage == "part":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Scorer(scored, lake, compute=LocalCompute(0), on_stage=stop).score(asked)
    write(make.numbers(100, seed=3), project / "in.parquet", row_group_size=20)
    scorer = Scorer(scored, lake, compute=LocalCompute(0))
    with pytest.raises(FailedError, match=r"in.parquet changed since the job was planned"):
        scorer.score(asked)
    cancelled = scorer.cancel(scorer.jobs.latest()[0])
    assert (cancelled.state, cancelled.scored) == ("cancelled", 25)
    assert scorer.score(asked).job.scored == 100
