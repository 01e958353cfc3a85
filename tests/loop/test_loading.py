from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loopwright.core.errors import DeclarationError, LoopwrightError, UsageError
from loopwright.loop.loading import find_project, load_loop

GOOD = 'import loopwright as lw\nloop = lw.Loop("parcels")\n'


def project(folder: Path, text: str, **others: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loop.py").write_text(text)
    for name, content in others.items():
        (folder / f"{name}.py").write_text(content)
    return folder


def failure(folder: Path, text: str, **others: str) -> LoopwrightError:
    """Load a project that cannot be, see that nothing of it stays behind, and return what was said."""
    modules, path = set(sys.modules), list(sys.path)
    with pytest.raises(LoopwrightError) as caught:
        load_loop(project(folder, text, **others))
    assert sys.path == path
    assert not {name for name in set(sys.modules) - modules if name.startswith("loopwright_project_")}
    assert caught.value.exit_code == 2
    return caught.value


def test_the_nearest_project_upwards_is_found(tmp_path: Path) -> None:
    outer = project(tmp_path / "outer", GOOD)
    inner = project(outer / "nested" / "inner", GOOD)
    deep = inner / "data" / "raw"
    deep.mkdir(parents=True)
    assert find_project(deep) == inner
    assert find_project(inner) == inner
    assert find_project(outer / "nested") == outer


def test_no_project_is_said_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "loop.py").mkdir()  # a folder is none
    with pytest.raises(UsageError, match=r"There is no loop\.py in .*loopwright init"):
        find_project(tmp_path)


def test_the_one_loop_is_loaded(tmp_path: Path) -> None:
    path = list(sys.path)
    loop = load_loop(project(tmp_path, GOOD + "again = loop\n"))
    assert loop.name == "parcels"
    assert sys.path == path


def test_a_project_may_be_spread_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "my_sources", raising=False)
    text = "import loopwright as lw\nfrom my_sources import NAME\nloop = lw.Loop(NAME)\n"
    assert load_loop(project(tmp_path, text, my_sources='NAME = "spread"\n')).name == "spread"
    monkeypatch.delitem(sys.modules, "my_sources")


def test_two_projects_with_the_same_file_name_do_not_meet(tmp_path: Path) -> None:
    first = load_loop(project(tmp_path / "a", GOOD))
    second = load_loop(project(tmp_path / "b", GOOD.replace("parcels", "letters")))
    assert (first.name, second.name) == ("parcels", "letters")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import loopwright as lw\n", "no Loop"),
        (GOOD + 'other = lw.Loop("letters")\n', "2 Loops"),
        (GOOD + "class Loop: ...\nother = Loop()\ndel loop\n", "no Loop"),
    ],
)
def test_exactly_one_loop_is_asked_for(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DeclarationError, match=rf"loop\.py declares {said}\. Write exactly one"):
        load_loop(project(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "loop.dataset(\n", "SyntaxError: '(' was never closed (loop.py, line 3)"),
        (GOOD + "\n\nprices\n", "NameError: name 'prices' is not defined (loop.py, line 5)"),
        (
            GOOD + "import not_there_at_all\n",
            "ModuleNotFoundError: No module named 'not_there_at_all' (loop.py, line 3)",
        ),
        (GOOD + "lw.Lop\n", "Did you mean 'Loop'?"),
        (GOOD + "raise SystemExit('enough')\n", "SystemExit: enough (loop.py, line 3)"),
        (GOOD + "def f():\n    return 1 / 0\n\nf()\n", "ZeroDivisionError: division by zero (loop.py, line 4)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in str(failure(tmp_path, text))


def test_a_mistake_in_another_file_of_the_project_is_found_there(tmp_path: Path) -> None:
    error = failure(tmp_path, "import my_broken_file\n" + GOOD, my_broken_file="\n\nundefined\n")
    assert "(my_broken_file.py, line 3)" in str(error)


def test_a_mistake_in_a_declaration_keeps_its_words_and_gains_its_line(tmp_path: Path) -> None:
    error = failure(tmp_path, "import loopwright as lw\n\nloop = lw.Loop('two words')\n")
    assert isinstance(error, DeclarationError)
    assert "got 'two words'" in error.message
    assert "(loop.py, line 3)" in str(error)


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    assert "FileNotFoundError" in str(_of(tmp_path / "absent"))
    (tmp_path / "loop.py").write_bytes(b"\x00\xff")
    assert "loop.py cannot be imported" in str(_of(tmp_path))


def _of(folder: Path) -> LoopwrightError:
    with pytest.raises(DeclarationError) as caught:
        load_loop(folder)
    return caught.value
