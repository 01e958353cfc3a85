"""What a person gets wrong, and what they are told: one clear message, the right exit code, nothing lost.

Each case runs the command line in this process, on a small project of its own. Exit codes: 2 for wrong use, 3 for a
refusal, 1 for a failure.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import os
import re
import select
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from loopwright.app.cli.main import main
from loopwright.loop.daemon import server_state

spec = importlib.util.spec_from_file_location("bad_projects", Path(__file__).parent / "conftest.py")
story = importlib.util.module_from_spec(spec)
sys.modules["bad_projects"] = story
spec.loader.exec_module(story)

Run = Callable[..., "Said"]


@dataclass(frozen=True)
class Said:
    """What a command said: its exit code, what it printed, and the one message of its end."""

    code: int
    out: str
    error: str

    def refused(self, code: int, *texts: str) -> None:
        """Check the exit code, and one message, without a traceback, that holds the texts and a next step."""
        assert self.code == code, (self.out, self.error)
        shown = " ".join(self.error.split())
        for text in texts:
            assert text in shown, shown
        for trace in ("Traceback", "internal fault", 'File "'):
            assert trace not in self.out + self.error, shown
        assert len(re.findall("^Error: ", self.error, re.MULTILINE)) == 1
        assert self.error.count("→") == 1, "one next step"
        assert len(shown) < 700, "short"


@pytest.fixture
def command(small_project: Path) -> Run:
    def run(*words: str) -> Said:
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), pytest.raises(SystemExit) as ended:
            main([*words, "--project", str(small_project)])
        return Said(ended.value.code, out.getvalue(), error.getvalue())

    return run


@pytest.fixture
def edit(small_project: Path) -> Callable[[str, str], None]:
    """Replace a text in the project's loop.py."""

    def replace(old: str, new: str) -> None:
        path = small_project / "loop.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return replace


def rows_in(command: Run) -> int:
    return sum(map(int, re.findall(r'"rows": (\d+)', command("data", "list", "--json").out)))


# --- data


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("data/orders.csv", ["There is no file or folder data/orders.csv", "Correct the path"]),
        ("nowhere/*.csv", ["No file matches nowhere/*.csv", "Correct the path"]),
    ],
)
def test_a_missing_file(command: Run, edit, pattern: str, texts: list[str]) -> None:
    edit("data/*.csv", pattern)
    said = command("run")
    said.refused(1, *texts)
    assert "✗ ingest parcels" in said.out


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this machine has no file that nobody can read")
def test_an_unreadable_file(command: Run, small_project: Path) -> None:
    (small_project / "data" / "b.csv").symlink_to("/proc/self/mem")
    command("data", "ingest").refused(1, "data/b.csv cannot be read: Input/output error.", "Check its permissions")
    (small_project / "data" / "b.csv").unlink()
    assert command("data", "ingest").code == 0
    assert rows_in(command) == 200


def test_a_file_that_is_no_table(command: Run, small_project: Path) -> None:
    """It is left out with its reason, and every other file comes in."""
    (small_project / "data" / "b.csv").write_bytes(bytes(range(256)) * 50)
    said = command("data", "ingest")
    said.refused(1, "1 file could not be read; every other row is in.", "Correct what is named above")
    assert "200 rows in, 0 to the quarantine, 0 known already, 1 file left out" in said.out
    assert "data/b.csv was left out: column 2 has no name" in said.out


def test_a_wrong_type_in_row_40001(command: Run, small_project: Path) -> None:
    path = small_project / "data" / "a.csv"
    header = "parcel_id,weight_kg,sent_at,price"
    lines = [f"p{n},{1 + n % 60},2026-01-01T00:00:00Z,5" for n in range(50_000)]
    lines[40_000] = "p40000,heavy,2026-01-01T00:00:00Z,5"
    path.write_text("\n".join([header, *lines, ""]))
    said = command("data", "ingest")
    assert said.code == 0
    assert "49,999 rows in, 1 to the quarantine" in said.out
    assert "1 type(weight_kg)" in said.out
    shown = command("data", "quarantine", "parcels")
    assert re.search(r"data/a\.csv\s+40,000\s+type\s+weight_kg\s+heavy", shown.out), shown.out
    assert rows_in(command) == 49_999


def test_an_empty_file(command: Run, small_project: Path) -> None:
    (small_project / "data" / "b.csv").write_text("")
    said = command("data", "ingest")
    assert said.code == 0
    assert "200 rows in" in said.out
    assert "data/b.csv is empty and adds nothing." in said.out


def test_only_an_empty_file(command: Run, small_project: Path) -> None:
    (small_project / "data" / "a.csv").write_text("")
    said = command("run")
    said.refused(1, "needs the dataset 'parcels', which has no rows yet", "loopwright data ingest parcels")
    assert "data/a.csv is empty and adds nothing." in said.out


# --- declarations


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ("contract=[", 'contract=[lw.unique("parcel"),', ["unknown column 'parcel'", "Did you mean 'parcel_id'?"]),
        ("contract=[", 'contract=[lw.expect("weight < 3"),', ["unknown column 'weight'", "Did you mean 'weight_kg'?"]),
        ('"weight_kg", "float"', '"wieght_kg", "float"', ["unknown column 'wieght_kg'", "Did you mean 'weight_kg'?"]),
        (
            '"weight_kg", "float"',
            '"weight_kg", "flaot"',
            ["no column type 'flaot'", "Did you mean 'float'?", "line 13"],
        ),
        ('key="parcel_id"', 'key="parcelid"', ["unknown column 'parcelid'", "Did you mean 'parcel_id'?"]),
        ('parcels["weight_kg"]', 'parcels["weight"]', ["no column 'weight' in 'parcels'", "Did you mean 'weight_kg'?"]),
        ("lw.label(parcels.price)", "lw.label(parcels.prise)", ["no column 'prise' in 'parcels'", "mean 'price'?"]),
        ('lw.at_most("mae"', 'lw.at_most("maee"', ["There is no metric 'maee'.", "Did you mean 'mae'?"]),
        ('metrics=["mae"]', 'metrics=["maee"]', ["There is no metric 'maee'.", "Did you mean 'mae'?"]),
        (
            'lw.at_most("mae"',
            'lw.at_most("rmse"',
            ["judges 'rmse', which the model does not compute", "Add it to metrics"],
        ),
        (
            'lw.at_most("mae", 5.0)',
            'lw.every_slice("zone", "mae", within=0.1)',
            ["There is no feature 'zone' of 'price' for every_slice to judge by.", "Known: weight_kg."],
        ),
        (
            'parcels["weight_kg"]',
            'parcels["weight_kg", "price"]',
            ["The label 'parcels.price' of 'price' is also a feature: it leaks.", "Remove it"],
        ),
        (
            "lw.label(parcels.price)",
            'lw.label(parcels.price, arrives_after="-2h")',
            ["declared to arrive -2h after its event, which is before it: it would leak", "arrives_after='2h'"],
        ),
        ("lw.fraction(0.3)", "lw.fraction(0.0)", ["leaves one side empty", "such as 0.2"]),
        ("lw.fraction(0.3)", 'lw.latest("900d")', ["The training part would be empty", "Use a shorter duration"]),
    ],
)
def test_a_declaration(command: Run, edit, old: str, new: str, texts: list[str]) -> None:
    edit(old, new)
    said = command("run")
    said.refused(2, *texts)
    assert "train price" not in said.out, "said before a training is spent on it"


def test_a_label_that_arrives_before_its_event(command: Run, edit, small_project: Path) -> None:
    path = small_project / "data" / "a.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},known_at", *(f"{line},2025-12-31T00:00:00Z" for line in lines), ""]))
    edit('key="parcel_id"', 'key="parcel_id", arrival_time="known_at"')
    command("run").refused(
        2,
        "leaks: in 200 rows it arrived before its event, such as known_at=2025-12-31",
        'expect("sent_at <= known_at")',
    )
    assert rows_in(command) == 200


VIEW = """
@loop.features(parcels, entity="parcel_id")
def earlier(parcels):
    import ibis

    return parcels.{}


@loop.model("""


@pytest.mark.parametrize(
    ("body", "rows", "texts"),
    [
        ('select("sent_at", x=parcels.weight_kg)', 0, ["returns no entity column 'parcel_id'", "It has sent_at, x."]),
        ('select("parcel_id", x=parcels.weight_kg)', 0, ["returns no event-time column 'sent_at'", "event_time="]),
        ('select("parcel_id", "sent_at")', 0, ["returns no feature column", "Add one by name"]),
        ('select("parcel_id", "sent_at", x=parcels.wieght)', 200, ["raised AttributeError", "'wieght'"]),
        ("count and None", 0, ["returned NoneType and not an Ibis table", "Return a table"]),
        (
            "union(parcels.mutate(weight_kg=parcels.weight_kg + 1)).select('parcel_id', 'sent_at', x=ibis._.weight_kg)",
            200,
            ["returns 2 rows for parcel_id='a000000'", "aggregate, or keep the last"],
        ),
        (
            'select("parcel_id", "sent_at", weight_kg=parcels.weight_kg + 1)',
            0,
            ["Two features of 'price' are named 'weight_kg'", "the view 'earlier'", "Rename one."],
        ),
    ],
)
def test_a_feature_view(command: Run, edit, body: str, rows: int, texts: list[str]) -> None:
    """Said before anything is ingested, where the contract tells the columns."""
    edit("\n@loop.model(", VIEW.format(body))
    edit('features=[parcels["weight_kg"]]', 'features=[parcels["weight_kg"], earlier]')
    command("run").refused(2, *texts)
    assert rows_in(command) == rows


# --- the project's files


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ("def price(train):", "def price(train:", ["SyntaxError: ", "(loop.py, line 28)", "Correct that line"]),
        ('lw.Loop("parcels")', 'lw.Loop("parcels"); 1 / 0', ["ZeroDivisionError: division by zero (loop.py, line 5)"]),
        ('lw.Loop("parcels")', 'lw.Loop("parcels"); raise SystemExit(0)', ["SystemExit: 0 (loop.py, line 5)"]),
        (
            "import loopwright as lw",
            "import loopwright as lw, nothere",
            ["No module named 'nothere' (loop.py, line 3)"],
        ),
        ("lw.at_most", "lw.at_mots", ["has no attribute 'at_mots'", "line 26", "Did you mean 'at_most'?"]),
        ('lw.Loop("parcels")', 'lw.Loop("parcels"); b = lw.Loop("b")', ["declares 2 Loops", "exactly one"]),
        ("gates=", "gaets=", ["unexpected keyword argument 'gaets'", "loop.py, line 20"]),
    ],
)
def test_a_loop_file(command: Run, edit, old: str, new: str, texts: list[str]) -> None:
    edit(old, new)
    command("run").refused(2, *texts)


def test_a_loop_file_without_a_loop(command: Run, small_project: Path) -> None:
    (small_project / "loop.py").write_text("x = 1\n")
    command("status").refused(2, "declares no Loop", "Write exactly one `loop = lw.Loop('name')`")


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('[store]\nulr = "x"\n', ["There is no setting [store] ulr in loopwright.toml.", "Did you mean [store] url?"]),
        ("[store\n", ["loopwright.toml is not valid TOML", "Correct the line"]),
        ('[serving]\nport = "eighty"\n', ["[serving] port cannot be 'eighty'", "LOOPWRIGHT_SERVING_PORT"]),
        (
            '[online]\nurl = "mysql://x"\n',
            ["[online] url cannot be 'mysql://x'", "This version knows sqlite:///, redis://"],
        ),
        ('[metadata]\nurl = "mysql://x"\n', ["[metadata] url cannot be 'mysql://x'", "sqlite:///, postgresql://"]),
        ('[training]\nmemory = "lots"\n', ["[training] memory cannot be 'lots'", "as in '4GB'"]),
        ('[store]\nurl = "ftp://x/y"\n', ["'ftp://x/y' is no place for a store", "s3://"]),
    ],
)
def test_a_settings_file(command: Run, small_project: Path, text: str, texts: list[str]) -> None:
    (small_project / "loopwright.toml").write_text(text)
    command("run").refused(2, *texts)


def test_a_folder_that_cannot_be_made(command: Run, small_project: Path) -> None:
    (small_project / ".loopwright").write_text("a file is in the way")
    command("run").refused(1, "/.loopwright cannot be made: ", "make room for it")


# --- names


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("data", "history", "parcel"), ["There is no dataset 'parcel'.", "Did you mean 'parcels'?"]),
        (("run", "--model", "prices"), ["There is no model 'prices'.", "Did you mean 'price'?"]),
        (("models", "list", "prise"), ["There is no model 'prise'.", "Did you mean 'price'?"]),
        (("models", "show", "price/9"), ["There is no model 'price'.", "No version is registered yet"]),
        (("predict", "price", '[{"weight_kg": 1}]'), ["There is no model 'price'.", "loopwright run"]),
        (("why", "0199-no-such-id"), ["There is no prediction '0199-no-such-id'.", "prediction_ids"]),
    ],
)
def test_an_unknown_name(command: Run, words: tuple[str, ...], texts: list[str]) -> None:
    command(*words).refused(2, *texts)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("rnu",), "No such command 'rnu'. Did you mean 'run'?"),
        (("models", "lst"), "No such command 'lst'. Did you mean 'list'?"),
        (("run", "--jsn"), "No such option: --jsn"),
    ],
)
def test_an_unknown_verb(command: Run, words: tuple[str, ...], text: str) -> None:
    said = command(*words)
    assert said.code == 2
    assert text in said.error


def test_no_project(tmp_path_factory: pytest.TempPathFactory) -> None:
    error = io.StringIO()
    with contextlib.redirect_stderr(error), pytest.raises(SystemExit) as ended:
        main(["status", "--project", str(tmp_path_factory.mktemp("empty"))])
    assert ended.value.code == 2
    assert "There is no loop.py in" in error.getvalue()
    assert "loopwright init" in error.getvalue()


# --- training


@pytest.mark.parametrize(
    ("body", "limits", "code", "texts"),
    [
        ("raise ValueError('no luck')", "", 1, ["price raised ValueError: no luck", "loop.py:31", "runs log"]),
        ("pass", "", 1, ["price returned nothing", "fitted estimator"]),
        ("return bytearray(2_000_000_000)", 'memory="600MB",', 1, ["its bound is 600 MB", "Use fewer rows"]),
        (
            "return type('Own', (), {'fit': None, 'predict': lambda self, X: [5.0] * len(X)})()",
            "",
            3,
            ["is no estimator that a safe format can hold", "trust_pickle=True"],
        ),
    ],
)
def test_a_training_function(command: Run, edit, body: str, limits: str, code: int, texts: list[str]) -> None:
    edit("return LinearRegression().fit(train.X, train.y)", body)
    edit('metrics=["mae"],', f'metrics=["mae"], {limits}')
    said = command("run")
    said.refused(code, *texts)
    assert "✗ train price" in said.out
    assert rows_in(command) == 200
    run_id = re.search(r"loopwright runs log (\S+)", said.error)[1]
    assert command("runs", "log", run_id).code == 0, "the next step that was named works"


def test_a_training_function_with_other_arguments(command: Run, edit) -> None:
    edit("def price(train):", "def price(train, parms):")
    command("run").refused(2, "price(train, parms) has arguments that nobody fills", "def price(train, params)")


# --- rows to predict


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion."""
    project = tmp_path_factory.mktemp("turned")
    (project / "loop.py").write_text(story.SMALL_PROJECT)
    story.write_parcels(project / "data")
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
        main(["run", "--project", str(project)])
    assert ended.value.code == 0
    return project


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("price", '[{"weight_kg": 3'), ["the argument is no JSON", "Give a list of objects"]),
        (("price", "rows.json"), ["'rows.json' is neither a file nor JSON", "Write"]),
        (("price", "[1, 2]"), ["the argument holds no rows", "Give a list of objects"]),
        (("price", "[]"), ["The request has no rows", "Send at least one"]),
        (("price", "[{}]"), ["Row 0: the field 'weight_kg' is missing", "Send it"]),
        (("price", '[{"weight_kg": 1}, {"weight_kg": "heavy"}]'), ["Row 1: the field 'weight_kg' must be a number"]),
        (("price/7", '[{"weight_kg": 1}]'), ["no model version 'price/7'", "Did you mean 'price/1'?"]),
        (("prices", '[{"weight_kg": 1}]'), ["There is no model 'prices'", "Did you mean 'price'?"]),
    ],
)
def test_rows_to_predict(turned: Path, words: tuple[str, ...], texts: list[str]) -> None:
    error = io.StringIO()
    with contextlib.redirect_stderr(error), pytest.raises(SystemExit) as ended:
        main(["predict", *words, "--project", str(turned)])
    assert ended.value.code == 2, error.getvalue()
    for text in texts:
        assert text in " ".join(error.getvalue().split())
    assert "Traceback" not in error.getvalue()


@pytest.fixture(scope="module")
def server(turned: Path) -> Iterator[httpx.Client]:
    """A client of a real server process."""
    command = [sys.executable, "-P", "-m", "loopwright.loop.server_process", str(turned), str(os.getpid()), "0"]
    with (turned / "server.txt").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        for _ in range(2000):
            state = server_state(turned / ".loopwright")
            if state is not None:
                break
            assert process.poll() is None, (turned / "server.txt").read_text()
            select.select([], [], [], 0.02)
        with httpx.Client(base_url=f"http://127.0.0.1:{state['port']}", timeout=120, trust_env=False) as client:
            for _ in range(2000):
                if client.get("/readyz").status_code == 200:
                    break
                select.select([], [], [], 0.02)
            yield client
        process.terminate()
        assert process.wait(30) == 0
    assert "Traceback" not in (turned / "server.txt").read_text()


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "Row 0: the field 'weight_kg' is missing; expected a number."),
        ({"rows": [{"weight_kg": 1}, {"weight": 2}]}, 400, "Row 1: the field 'weight_kg' is missing"),
        ({"weight_kg": "heavy"}, 400, "Row 0: the field 'weight_kg' must be a number, got str 'heavy'."),
        ({"weight_kg": None}, 400, "Row 0: the field 'weight_kg' is null; expected a number."),
        ({"weight_kg": [1, 2]}, 400, "Row 0: the field 'weight_kg' must be a number"),
        ({"weight_kg": True}, 400, "Row 0: the field 'weight_kg' must be a number"),
        ({"rows": []}, 400, "no rows"),
    ],
)
def test_a_request(server: httpx.Client, body: dict[str, object], status: int, text: str) -> None:
    answer = server.post("/predict/price", json=body)
    assert answer.status_code == status
    assert text in answer.json()["error"]
    assert server.post("/predict/price", json={"weight_kg": 3}).status_code == 200


def test_a_request_with_more_than_the_model_takes(server: httpx.Client) -> None:
    """It is answered, and what nothing reads is named."""
    answer = server.post("/predict/price", json={"weight_kg": 3, "colour": "red"})
    assert answer.status_code == 200
    assert answer.json()["ignored"] == ["colour"]
    assert abs(answer.json()["predictions"][0] - 9) < 1e-6


def test_a_request_to_nowhere(server: httpx.Client) -> None:
    answer = server.post("/predict/prices", json={"weight_kg": 3})
    assert answer.status_code == 404
    assert "no model 'prices'" in answer.json()["error"]


# --- the store


def test_a_store_written_by_a_newer_version(command: Run, small_project: Path) -> None:
    assert command("data", "ingest").code == 0
    database = small_project / ".loopwright" / "loop.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = database.read_bytes()
    for words in (("run",), ("status",), ("up",), ("gc",)):
        command(*words).refused(1, "is at revision 9999; this Loopwright knows", "pip install --upgrade loopwright")
    assert database.read_bytes() == before


SMALL_DISK = 'mount -t tmpfs -o size=3m tmpfs "$1" && cp -r "$2"/. "$1" && cd "$1" && shift 2 && exec "$@"'
FILL_AND_RUN = """
import os, subprocess, sys
command = [sys.executable, "-m", "loopwright.app.cli.main", "run"]
with open("ballast", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
os.truncate("ballast", max(0, os.path.getsize("ballast") - int(sys.argv[1])))
first = subprocess.run(command, capture_output=True, text=True)
os.unlink("ballast")
second = subprocess.run(["du", "-sk", "."], capture_output=True, text=True)
print(first.returncode, first.stdout + first.stderr)
check = [sys.executable, "-m", "loopwright.app.cli.main", "data", "ingest", "--json"]
after = subprocess.run(check, capture_output=True, text=True)
print("after:", after.returncode, after.stdout + after.stderr)
"""


@pytest.mark.parametrize("free", [0, 40_000, 700_000])
def test_a_full_disk(small_project: Path, tmp_path_factory: pytest.TempPathFactory, free: int) -> None:
    """Said in one message; with space again, the same command goes on and every row is there once."""
    disk = tmp_path_factory.mktemp("disk")
    shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh"]
    shell += [str(disk), str(small_project)]
    try:
        subprocess.run([*shell, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small disk of their own (unshare, tmpfs)")
    done = subprocess.run(
        [*shell, sys.executable, "-c", FILL_AND_RUN, str(free)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(disk)},
    )
    assert done.returncode == 0, done.stderr
    first, _, after = done.stdout.partition("after:")
    assert first.startswith("1 "), done.stdout
    assert any(text in first for text in ("No space left", "No space is left", "is full")), first
    for trace in ("Traceback", "internal fault"):
        assert trace not in done.stdout
    assert after.startswith(" 0 "), after
    accepted = int(re.search(r'"rows_accepted": (\d+)', after)[1])
    total = int(re.search(r'"rows": (\d+)', after)[1])
    assert total == 200
    assert accepted in (0, 200)


def test_an_error_of_the_system_is_no_fault_of_ours(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/store/x")

    monkeypatch.setattr("loopwright.app.cli.status.status_of", full)
    command("status").refused(1, "No space left on device: /store/x.", "loopwright gc --dry-run")
