from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import FailedError
from loopwright.core.storage.file_lock import FileLock

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from loopwright.core.storage.file_lock import FileLock
with FileLock(Path(sys.argv[1])).hold():
    print("held", flush=True)
    sys.stdin.read()
"""


def refusal(holder: str) -> FailedError:
    return FailedError(f"held by {holder}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "one.lock"


def test_a_second_holder_is_refused_or_waits_its_turn(path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with FileLock(path).hold():
            order.append("second")

    waiting = threading.Thread(target=second)
    with FileLock(path).hold(refusal=refusal):
        assert FileLock(path).is_held()
        waiting.start()
        with pytest.raises(FailedError, match="held by"), FileLock(path).hold(refusal=refusal):
            pytest.fail("two at once")
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    assert not FileLock(path).is_held()


def test_one_who_waits_gets_it_from_a_killed_holder(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FailedError, match=f"held by {holder.pid}"), FileLock(path).hold(refusal=refusal):
            pytest.fail("two at once")
        got = threading.Event()

        def wait() -> None:
            with FileLock(path).hold():
                got.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.is_set()
        holder.send_signal(signal.SIGKILL)
        waiting.join()
        assert got.is_set()
