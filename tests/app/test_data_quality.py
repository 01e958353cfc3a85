"""The verbs infer, profile, leakage and quarantine, as a person meets them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loopwright.data.quality.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROJECT = """
import loopwright as lw
loop = lw.Loop("t")
trips = loop.dataset("trips", source=lw.files("in/*.csv"), key="id", contract=[
    lw.column("city", "category", among=["Oslo", "Bergen"]),
    lw.column("km", "float", at_least=0),
    lw.column("name", "string", sensitive="restrict", required=False),
])
"""


@pytest.fixture
def ask(bare: Callable[..., object], tmp_path: Path) -> Callable[..., object]:
    (tmp_path / "loop.py").write_text(PROJECT)
    (tmp_path / "in").mkdir()
    rows = "".join(f"{n},{['Oslo', 'Bergen'][n % 2]},{n % 9},ada\n" for n in range(60))
    (tmp_path / "in/a.csv").write_text("id,city,km,name\n" + rows + "90,Olso,4,bob\n91,Oslo,x,eve\n")
    say = lambda *words: bare(*words, "--project", str(tmp_path))  # noqa: E731
    assert say("data", "ingest").code == 0
    return say


def test_infer(ask, tmp_path: Path) -> None:
    said = ask("data", "infer", str(tmp_path / "in/a.csv"))
    assert "lw.unique('id')" in said.out
    assert said.code == 0
    shown = json.loads(ask("data", "infer", "trips", "--rows", "50", "--json").out)
    assert (shown["rows"], shown["key"]) == (50, ["id"])
    target = tmp_path / "contract.py"
    assert ask("data", "infer", "trips@1", "--out", str(target)).code == 0
    assert "trips = loop.dataset(" in target.read_text()
    said = ask("data", "infer", "trips", "--out", str(target))
    assert (said.code, "is there already" in said.error) == (2, True)


def test_profile(ask, tmp_path: Path) -> None:
    said = ask("data", "profile", "trips", "--html", str(tmp_path / "p/trips.html"), "--target", "km")
    assert said.code == 0
    assert "60 rows" in said.out
    html = (tmp_path / "p/trips.html").read_text()
    assert "<svg" in html
    assert ">ada<" not in html  # a restricted value
    saved = json.loads(ask("data", "profile", "trips", "--json").out)
    assert Profile.from_json(saved).rows == 60
    (tmp_path / "before.json").write_text(json.dumps(saved))
    said = ask("data", "profile", "trips", "--against", str(tmp_path / "before.json"))
    assert "No column has drifted" in said.out
    assert "change" in json.loads(ask("data", "profile", "trips", "--against", "trips@1", "--json").out)


def test_leakage(ask, shared_data: Path) -> None:
    path = str(shared_data / "bike_sharing_hour.parquet")
    said = ask("data", "leakage", path, "--target", "cnt", "--fail", "--time", "ts")
    assert (said.code, "casual + registered = cnt" in said.out) == (3, True)
    shown = json.loads(ask("data", "leakage", path, "--target", "cnt", "--features", "temp,hum,hr", "--json").out)
    assert shown == {"target": "cnt", "leaks": []}


def test_quarantine(ask, tmp_path: Path) -> None:
    assert json.loads(ask("data", "quarantine", "list", "--json").out)[0]["rows"] == 2
    assert {one["column"] for one in json.loads(ask("data", "quarantine", "group", "trips", "--json").out)} == {
        "city",
        "km",
    }
    said = ask("data", "quarantine", "trips")
    assert "Oslo, Bergen" in said.out
    assert "among(city)" in ask("data", "quarantine", "group", "trips").out
    file = tmp_path / "rows.csv"
    assert "2 rows in" in ask("data", "quarantine", "export", "trips", str(file)).out
    file.write_text(file.read_text().replace('"Olso"', '"Oslo"'))
    assert "1 in" in ask("data", "quarantine", "replay", "trips", str(file)).out
    shown = json.loads(
        ask("data", "quarantine", "replay", "trips", "--set", "km='1'", "--where", "km = 'x'", "--json").out
    )
    assert (shown["accepted"], shown["still_out"]) == (1, 0)
    assert len(json.loads(ask("data", "quarantine", "history", "trips", "--json").out)) == 2
    assert "km" in ask("data", "quarantine", "history", "trips").out
    assert "No dataset" in ask("data", "quarantine", "list").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data", "infer", "absent"), "There is no dataset or file 'absent'"),
        (("data", "infer", "absent.csv"), "There is no file"),
        (("data", "profile", "trips", "--target", "kmm"), "There is no column 'kmm'"),
        (("data", "profile", "trips", "--key", "kmm"), "'kmm'"),
        (("data", "profile", "trips", "--time", "km"), "holds no times"),
        (("data", "profile", "trips", "--against", "no.json"), "There is no profile"),
        (("data", "profile", "trips@9"), "There is no snapshot"),
        (("data", "leakage", "trips", "--target", "x"), "There is no column 'x'"),
        (("data", "quarantine", "show", "absent"), "There is no dataset 'absent'"),
        (("data", "quarantine", "replay", "trips", "--set", "km"), "is no change"),
        (("data", "quarantine", "replay", "trips", "--set", "km=1", "--set", "km=2"), "twice"),
        (("data", "quarantine", "replay", "trips", "--where", "km >"), "cannot be computed"),
        (("data", "quarantine", "export", "trips", "rows.xlsx"), "names no format"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], told: str, ask) -> None:
    said = ask(*words)
    assert said.code in {1, 2}
    assert told in said.error
    assert "Traceback" not in said.error + said.out
