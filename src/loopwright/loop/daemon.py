"""``up``: a supervisor that keeps a server, a controller and streams running, and brings back whichever dies.

Each is a process of its own, and both end with the supervisor: when it is asked to stop they finish what they do, and
when it is killed they notice within a second. Nothing they know is in their memory only, so ``up`` begun again goes on
where the last one ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from loopwright.core.errors import SettingsError
from loopwright.core.openmp import environment_of_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopwright.core.clock import Clock

Role: TypeAlias = str
"""``server``, ``controller``, ``log``, or ``stream:`` and the name of a model."""
_MODULES: dict[str, str] = {
    "server": "loopwright.loop.server_process",
    "controller": "loopwright.loop.controller_process",
    "log": "loopwright.loop.log_process",
    "stream": "loopwright.loop.stream_process",
}
LOOK_EVERY_S = 0.1
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 30.0
HEALTHY_AFTER_S = 20.0
STOP_WITHIN_S = 40.0


@dataclass
class _Child:
    role: Role
    process: subprocess.Popen[bytes]
    started_s: float
    failures: int = 0
    restart_at_s: float | None = None


@dataclass
class Supervisor:
    """Keeps the processes of one project running.

    Args:
        project: The project's folder.
        clock: For when a dead process is started again.
        on_event: Is told what happens, in words.
        roles: What to run.
        tick_s: Seconds between two ticks of the controller.
    """

    project: Path
    clock: Clock
    on_event: Callable[[str], None]
    roles: tuple[Role, ...] = ("server", "controller")
    tick_s: float = 2.0
    _children: dict[Role, _Child] = field(default_factory=dict)
    _stopping: bool = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; returns when both processes have ended.

        On SIGHUP the server's workers are replaced one by one, where no terminal is attached.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        if not sys.stdin.isatty():  # in a terminal it means that the terminal is gone
            signal.signal(signal.SIGHUP, self._ask_to_renew)
        for role in self.roles:
            self._start(role, failures=0)
        try:
            while not self._stopping:
                self.look()
                self.clock.sleep(LOOK_EVERY_S)
        finally:
            self.stop()

    def look(self) -> None:
        """Start again what has died, after a pause that doubles with each death in a row."""
        now = self.clock.monotonic()
        for child in list(self._children.values()):
            if child.restart_at_s is not None:
                if now >= child.restart_at_s:
                    self._start(child.role, failures=child.failures)
                continue
            code = child.process.poll()
            if code is None:
                continue
            if code == SettingsError.exit_code:
                raise SettingsError(f"The {child.role} cannot run with these settings; it said why above.")
            healthy = now - child.started_s >= HEALTHY_AFTER_S
            child.failures = 1 if healthy else child.failures + 1
            pause = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (child.failures - 1))
            child.restart_at_s = now + pause
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.on_event(f"the {child.role} ended ({how}); starting it again in {pause:.1f} s")

    def stop(self) -> None:
        """Ask both to end, wait, and kill what does not."""
        living = [child.process for child in self._children.values() if child.process.poll() is None]
        for process in living:
            process.terminate()
        for process in living:
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pids(self) -> dict[Role, int]:
        """Return the process ids by role."""
        return {role: child.process.pid for role, child in self._children.items()}

    def _start(self, role: Role, *, failures: int) -> None:
        command = _command(self.project, role, os.getpid(), self.tick_s)
        process = subprocess.Popen(command, cwd=self.project, env=_environment(role))  # noqa: S603 - our own module
        self._children[role] = _Child(role, process, self.clock.monotonic(), failures)
        self.on_event(f"{role} started (process {process.pid})")

    def _ask_to_renew(self, number: int, frame: object) -> None:
        """Have the server replace its workers one by one; no request is lost by it."""
        del frame
        server = self._children.get("server")
        if server is not None and server.process.poll() is None:
            server.process.send_signal(number)

    def _ask_to_stop(self, number: int, frame: object) -> None:
        del number, frame
        self._stopping = True


def become(project: Path, role: Role, *, tick_s: float = 2.0) -> NoReturn:
    """Turn this process into one of the processes of ``up``; whoever started it brings it back when it dies.

    For containers, whose orchestrator supervises: a supervisor inside would only take memory and hide deaths.
    """
    os.chdir(project)
    command = _command(project, role, os.getppid(), tick_s)
    variables = _environment(role)
    if variables is None:
        os.execv(command[0], command)  # noqa: S606 - our own module
    os.execve(command[0], command, variables)  # noqa: S606


def _command(project: Path, role: Role, parent_pid: int, tick_s: float) -> list[str]:
    kind, _, model = role.partition(":")
    command = [sys.executable, "-P", "-m", _MODULES[kind], str(project), str(parent_pid)]
    command += [model] if model else []
    return command + ([str(tick_s)] if role == "controller" else [])


def _environment(role: Role) -> dict[str, str] | None:
    """Return the variables of a process, or None where they are those of this one."""
    return environment_of_one_thread() if role == "server" else None


def server_state(home: Path) -> dict[str, object] | None:
    """Return what the running server says of itself (pid, host, port, models), or None where none runs."""
    path = home / "server.json"
    try:
        state: dict[str, object] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    try:
        os.kill(int(str(state["pid"])), 0)
    except ProcessLookupError:
        return None
    return state
