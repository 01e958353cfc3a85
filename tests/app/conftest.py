"""A project that has turned once, and the command line in this process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from loopwright.app.cli.main import main

PROJECT = """
import loopwright as lw

loop = lw.Loop("parcels")
parcels = loop.dataset(
    "parcels",
    source=lw.files("data/*.csv"),
    key="parcel_id",
    contract=[
        lw.column("parcel_id", "string"),
        lw.column("weight_kg", "float", at_least=0),
        lw.column("price", "float"),
    ],
)


@loop.model(
    "price",
    label=lw.label(parcels.price),
    features=[parcels.weight_kg],
    holdout=lw.fraction(0.3),
    metrics=["mae"],
    gates=[lw.at_most("mae", 5.0)],
)
def price(train):
    from sklearn.linear_model import LinearRegression

    print("learning from", len(train), "rows")
    return LinearRegression().fit(train.X, train.y)


loop.deploy(price, online=lw.online())
"""


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    error: str


def ask(*words: str) -> Said:
    """Run the command line in this process."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), pytest.raises(SystemExit) as ended:
        main(words)
    return Said(ended.value.code or 0, out.getvalue(), error.getvalue())


@pytest.fixture(scope="session")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after one turn, whose data has one row in the quarantine; tests only read it."""
    project = tmp_path_factory.mktemp("turned")
    (project / "loop.py").write_text(PROJECT)
    (project / "data").mkdir()
    lines = [f"p{n},{1 + n % 60},{5 + 2 * (n % 60)}" for n in range(200)]
    (project / "data" / "a.csv").write_text("\n".join(["parcel_id,weight_kg,price", *lines, "bad,-1,[red]0[/]", ""]))
    assert ask("run", "--project", str(project)).code == 0
    return project


@pytest.fixture
def command(turned: Path) -> Callable[..., Said]:
    """Run a verb on that project."""
    return lambda *words: ask(*words, "--project", str(turned))


@pytest.fixture
def bare() -> Callable[..., Said]:
    """Run a verb on no project."""
    return ask
