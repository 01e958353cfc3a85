"""The entry point: exit codes, help, versions, pipes, and faults of our own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright import __version__
from loopwright.app.cli.main import COMMANDS, build
from loopwright.core.errors import GateRefusedError, SourceError

LOOPWRIGHT = Path(sys.executable).parent / "loopwright"
GROUPS = ("data", "runs", "models", "incidents", "turns")


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help(bare: Callable, verb: str) -> None:
    said = bare(verb, "--help")
    assert said.code == 0
    assert f"Usage: loopwright {verb}" in said.out
    assert "\x1b" not in said.out
    assert bare(verb, "-h").out == said.out


@pytest.mark.parametrize("group", GROUPS)
def test_every_sub_verb_has_help(bare: Callable, group: str) -> None:
    import_of = build(group)
    (found,) = [one for one in import_of.registered_groups if one.name == group]
    names = [one.name or one.callback.__name__ for one in found.typer_instance.registered_commands]
    assert names
    for name in names:
        said = bare(group, name, "--help")
        assert said.code == 0, name
        assert len(said.out.splitlines()) > 4


def test_nothing_given_shows_the_verbs(bare: Callable) -> None:
    said = bare()
    assert said.code == 2
    assert all(verb in said.out + said.error for verb in COMMANDS)


def test_version(bare: Callable) -> None:
    assert bare("--version").out == f"loopwright {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SourceError("It cannot be read.", hint="Look."), 1, "Error: It cannot be read.\n  → Look.\n"),
        (GateRefusedError("No.", hint="Ask."), 3, "Error: No.\n  → Ask.\n"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "/x"), 1, "Error: Permission denied: /x.\n  → Correct that"),
        (KeyboardInterrupt(), 130, "Interrupted. What was finished is kept"),
        (BrokenPipeError(), 0, ""),
        (RuntimeError("odd"), 1, "Error: an internal fault: RuntimeError: odd"),
    ],
)
def test_an_error_becomes_a_message_and_an_exit_code(
    command: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, code: int, text: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("loopwright.app.cli.status.status_of", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = command("status")
    assert said.code == code
    assert said.error.startswith(text)
    assert "Traceback" not in said.error
    if isinstance(error, RuntimeError):
        assert "RuntimeError: odd" in (tmp_path / "loopwright-fault.txt").read_text(), "the details are kept"


def test_no_colour_where_none_is_wanted(turned: Path) -> None:
    """A terminal would get colours; NO_COLOR and a pipe get none, and a reader that stops early is no error."""
    environment = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "", "TERM": "xterm-256color"}
    shell = f"{LOOPWRIGHT} models show price --project {turned} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b[3" not in done.stdout


def test_a_gate_that_refuses_ends_with_three(bare: Callable, tmp_path: Path, turned: Path) -> None:
    code = (turned / "loop.py").read_text()
    refusing = code.replace("lw.at_most", "lw.at_least").replace("5.0", "500.0")
    (tmp_path / "loop.py").write_text(refusing)
    (tmp_path / "data").symlink_to(turned / "data")
    said = bare("run", "--project", str(tmp_path))
    assert said.code == 3, said.error
    assert "Error: No passing verdict for price." in said.error
    assert "loopwright models show price/1" in said.error
    assert bare("models", "promote", "price/1", "--project", str(tmp_path)).code == 3
    forced = bare("models", "promote", "price/1", "--override", "a test", "--project", str(tmp_path))
    assert forced.code == 0
    assert "price/1 is champion" in forced.out
