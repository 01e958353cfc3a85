from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loopwright.core.errors import TurnInProgressError
from loopwright.loop.lock import is_turning, turn_lock

HOLDER = """
import sys
from pathlib import Path
from loopwright.loop.lock import turn_lock
with turn_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "turn.lock"
    named = pytest.raises(TurnInProgressError, match=f"Process {os.getpid()} is turning")
    with turn_lock(path), named, turn_lock(path):
        pytest.fail("two at once")
    with turn_lock(path):
        assert is_turning(path)


def test_it_is_given_back_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "turn.lock"
    with contextlib.suppress(KeyError), turn_lock(path):
        raise KeyError("anything")
    assert not is_turning(path)
    with turn_lock(path):
        pass


def test_nobody_turns_where_nobody_ever_did(tmp_path: Path) -> None:
    assert not is_turning(tmp_path / "turn.lock")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "turn.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_turning(path)
        with pytest.raises(TurnInProgressError, match=str(holder.pid)), turn_lock(path):
            pytest.fail("two at once")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert path.read_text().strip() == str(holder.pid)
    assert not is_turning(path)
    with turn_lock(path):
        assert path.read_text().strip() == str(os.getpid())


def test_asking_never_refuses_a_turn(tmp_path: Path) -> None:
    path = tmp_path / "turn.lock"
    with turn_lock(path):
        pass
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            is_turning(path)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(300):
            with turn_lock(path):
                pass
    finally:
        stop.set()
        for thread in asking:
            thread.join()
