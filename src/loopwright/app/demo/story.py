"""The story: a camera service whose world changes, and that comes back by itself.

Everything is the real thing: the project is the ``digits`` template, the server a process of its own, the traffic
HTTP. Only the pace is a demonstration's: labels come fifty pictures late instead of a day, and the controller looks
after every fifty pictures instead of every two seconds.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from loopwright.app.cli.init import copy_template
from loopwright.app.demo.report import DemoReport
from loopwright.app.demo.traffic import Client, Tally, is_ready
from loopwright.core.clock import ManualClock, SystemClock
from loopwright.core.errors import FailedError
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.loop.controller import Controller
from loopwright.loop.daemon import server_state
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.loop.turn_log import TurnLog
from loopwright.loop.turn_process import turn_for
from loopwright.loop.why import why_prediction
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from loopwright.loop.controller import TickReport
    from loopwright.loop.decisions import DecisionRecord
    from loopwright.loop.step import Listener
    from loopwright.loop.turn import TurnOutcome
    from loopwright.monitoring.signal import Signal

MODEL = "digit"
FIRST = range(1000)  # pictures to begin with
BEFORE = range(1000, 1150)  # live traffic of a healthy camera
CHANGED_FROM = 1150
CHANGED_UNTIL = 1500  # pictures of the changed camera that get labels
UNSEEN = range(1597, 1797)  # pictures that no training ever sees
BATCH = 50
CANARY_BATCH = 20
MOST_CANARY_BATCHES = 60
READY_WITHIN_S = 30.0


class Teller(Protocol):
    """Whoever tells the story to a person."""

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""

    def say(self, text: str) -> None:
        """Say a sentence, in Rich's markup."""


class Story:
    """Tells one loop.

    Args:
        folder: An empty folder, for the project.
        teller: Says what happens.
        listener: Shows the steps of turns.
        seed: Makes the numbers repeat.
    """

    def __init__(self, folder: Path, teller: Teller, listener: Listener, *, seed: int = 0) -> None:
        self._folder = folder
        self._teller = teller
        self._listener = listener
        self._clock = SystemClock()
        self._report = DemoReport(seed=seed, folder=str(folder))
        self._tally = Tally()
        self._during_turn = Tally()
        self._told: set[str] = set()

    def run(self) -> DemoReport:
        """Tell it from the first file to the last answer.

        Raises:
            FailedError: If a chapter does not end as it must; what was made is left in the folder.
        """
        began = self._clock.monotonic()
        copy_template("digits", self._folder)
        self._template = _module(self._folder / "camera.py")
        self._camera: Any = self._template.Camera(self._report.seed)
        story_clock = ManualClock(self._template.FIRST_PICTURE)
        ids = Ids(story_clock, seeded_entropy(self._report.seed))
        with Workspace.open(self._folder, ids=ids) as workspace:
            self._workspace = workspace
            self._loop = load_loop(self._folder)
            self._controller = Controller(self._loop, workspace, self._start_turn)
            self._first_turn()
            server = self._serve()
            try:
                self._healthy()
                self._changed()
                self._canary()
                self._after()
            finally:
                server.terminate()
                server.wait(30)
            self._ask_why()
        self._report.seconds_total = round(self._clock.monotonic() - began, 2)
        self._report.requests, self._report.requests_failed = self._tally.requests, self._tally.failed
        return self._report

    def _first_turn(self) -> None:
        self._teller.chapter(1, "Data comes in, is checked, and trains a first model")
        data = self._folder / "data"
        self._template.write_pictures(self._camera, data, FIRST)
        self._template.write_labels(self._camera, data, FIRST)
        faulty = self._template.write_faulty(self._camera, data, first=0)
        self._teller.say(
            f"{len(FIRST):,} labelled pictures of handwritten digits lie in data/, and {faulty} faulty ones."
        )
        self._record_turn(run_turn(self._loop, self._workspace, listener=self._listener))
        quarantine = self._workspace.data.quarantine("digits")
        for reason, rows in quarantine.reasons().items():
            self._teller.say(f"  [yellow]quarantine[/] {rows} rows: {reason}")
        self._report.champion["before"] = self._champion()

    def _serve(self) -> subprocess.Popen[bytes]:
        self._teller.chapter(2, "The champion is served")
        home = self._workspace.stores.local
        module, any_port = "loopwright.loop.server_process", "0"
        command = [sys.executable, "-P", "-m", module, str(self._folder), str(os.getpid()), any_port]
        log = (home / "server.log").open("ab")
        server = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own module
        log.close()
        deadline = self._clock.monotonic() + READY_WITHIN_S
        while self._clock.monotonic() < deadline and server.poll() is None:
            state = server_state(home)
            if state is not None and is_ready(int(str(state["port"]))):
                port = int(str(state["port"]))
                self._client = Client(port, MODEL, self._camera)
                self._teller.say(f"{self._champion()} answers at http://127.0.0.1:{port}/predict/{MODEL}")
                return server
            self._clock.sleep(0.02)
        server.kill()
        raise FailedError("The server did not become ready.", hint=f"Look into {home}.")

    def _healthy(self) -> None:
        self._teller.chapter(3, "Traffic, and labels that come late")
        tally = self._send(BEFORE, degraded=False)
        self._label(BEFORE, degraded=False)
        self._tick()
        self._report.accuracy["before"] = round(tally.accuracy, 4)
        self._teller.say(f"{tally.requests} requests answered, {tally.accuracy:.1%} right.")

    def _changed(self) -> None:
        self._teller.chapter(4, "The camera changes: blur, noise, and black for white")
        wrong = Tally()
        decided = False
        labelled = CHANGED_FROM
        for start in range(CHANGED_FROM, CHANGED_UNTIL, BATCH):
            numbers = range(start, min(start + BATCH, CHANGED_UNTIL))
            wrong.add(self._send(numbers, degraded=True))
            if start > CHANGED_FROM:  # the labels of the batch before have come meanwhile
                self._label(range(labelled, start), degraded=True)
                labelled = start
            report = self._tick()
            self._show_signals(report, sent=wrong.requests)
            if report.decisions:
                decided = True
                break
        if not decided:
            self._label(range(labelled, CHANGED_UNTIL), degraded=True)
            report = self._tick()
            self._show_signals(report, sent=wrong.requests)
            decided = bool(report.decisions)
        if not decided:
            raise FailedError("No turn was decided although the camera changed.", hint="Run it with another --seed.")
        self._report.accuracy["drifted"] = round(wrong.accuracy, 4)
        self._teller.say(f"While it was drifted, {wrong.accuracy:.1%} of {wrong.requests} answers were right.")

    def _start_turn(self, decision: DecisionRecord) -> None:
        self._teller.chapter(5, "The loop turns again, while the old model keeps answering")
        self._teller.say(f"Decided: {decision.text}.")
        traffic = threading.Thread(target=self._traffic_during_turn)
        traffic.start()
        try:
            outcome = turn_for(self._loop, self._workspace, decision, listener=self._listener)
        finally:
            traffic.join()
        self._tally.add(self._during_turn)
        self._record_turn(outcome)
        result = outcome.models[MODEL]
        self._teller.say(
            f"{self._during_turn.requests} requests were answered meanwhile, {self._during_turn.failed} failed. "
            f"Verdict on {result['version']}: [bold]{result['verdict']}[/]."
        )

    def _traffic_during_turn(self) -> None:
        self._during_turn = self._client.send(range(CHANGED_UNTIL, CHANGED_UNTIL + 97), degraded=True)

    def _canary(self) -> None:
        self._teller.chapter(6, "The new model rolls out through a canary")
        release = self._workspace.releases.current(MODEL)
        if release is None:
            raise FailedError("The new version did not pass its gates.", hint="Run it with another --seed.")
        self._wait_for({release.champion.rpartition("/")[2], release.challenger.rpartition("/")[2]})
        shown = ""
        numbers = list(range(CHANGED_UNTIL, CHANGED_UNTIL + 97))
        for batch in range(MOST_CANARY_BATCHES):
            start = batch * CANARY_BATCH % len(numbers)
            tally = self._send((numbers * 2)[start : start + CANARY_BATCH], degraded=True)
            answers = ", ".join(f"{MODEL}/{version}: {count}" for version, count in sorted(tally.versions.items()))
            self._tick()
            now = self._workspace.releases.get(release.id)
            text = f"{now.stage} {now.share:.0%}"
            if text != shown:
                self._teller.say(f"  {text:<16} last {CANARY_BATCH} answers by {answers}")
                shown = text
            if not now.is_open:
                break
        self._report.champion["after"] = self._champion()
        if self._report.champion["after"] == self._report.champion["before"]:
            raise FailedError(f"The release ended as {shown}.", hint="Run it with another --seed.")

    def _after(self) -> None:
        self._teller.chapter(7, "Better again")
        self._wait_for_champion()
        tally = self._send(UNSEEN, degraded=True)
        self._report.accuracy["after"] = round(tally.accuracy, 4)
        self._tick()
        accuracy = self._report.accuracy
        self._teller.say(
            f"accuracy before [green]{accuracy['before']:.1%}[/] · drifted [red]{accuracy['drifted']:.1%}[/] · "
            f"after [green]{accuracy['after']:.1%}[/], on pictures that no training saw"
        )
        self._teller.say(f"{self._tally.requests} requests, {self._tally.failed} failed.")

    def _wait_for_champion(self) -> None:
        """Wait until the server has put the new champion in force; it looks a few times a second."""
        self._wait_for({self._champion().rpartition("/")[2]})

    def _wait_for(self, versions: set[str]) -> None:
        deadline = self._clock.monotonic() + READY_WITHIN_S
        while set(self._client.served_versions()) != versions:
            if self._clock.monotonic() > deadline:
                raise FailedError(f"The server did not put {', '.join(sorted(versions))} in force.")
            self._clock.sleep(0.05)

    def _ask_why(self) -> None:
        self._teller.chapter(8, "Why? From an answer back to the file")
        labelled = self._first_labelled_prediction()
        answer = why_prediction(self._workspace, self._loop, labelled)
        self._report.why = list(answer.lines())
        for line in self._report.why:
            self._teller.say(f"  {line}")

    def _first_labelled_prediction(self) -> str:
        rows = self._workspace.stores.tables.read(f"outcomes/{MODEL}", columns=["prediction_id", "predicted_at"])
        return str(rows.sort_by("predicted_at").column("prediction_id")[0].as_py())

    def _send(self, numbers: range | list[int], *, degraded: bool) -> Tally:
        tally = self._client.send(numbers, degraded=degraded)
        self._tally.add(tally)
        return tally

    def _label(self, numbers: range, *, degraded: bool) -> None:
        data = self._folder / "data"
        self._template.write_pictures(self._camera, data, numbers, degraded=degraded)
        self._template.write_labels(self._camera, data, numbers)

    def _tick(self) -> TickReport:
        report = self._controller.tick()
        self._report.rows_ingested += report.rows_ingested
        return report

    def _show_signals(self, report: TickReport, *, sent: int) -> None:
        """Tell the first signal of each check; the others are on record."""
        for signal in report.signals:
            if signal.check in self._told:
                continue
            self._told.add(signal.check)
            features = drifted_features(signal)
            if signal.check == "drift":
                self._report.drift_features = features
            if signal.check == "loss":
                self._report.rows_until_signal = sent
            shown = ((name.replace("_", " "), value) for name, value in signal.certainty.items())
            certainty = ", ".join(f"{name} {value:.2g}" for name, value in shown)
            value = "" if signal.value is None else f" {signal.value:.3g}"
            bound = "" if signal.threshold is None else f" (bound {signal.threshold:.3g})"
            named = f" in {', '.join(features)}" if features else ""
            seen = f"{signal.check}{value}{bound}{named}, after {sent} pictures; {certainty}"
            self._teller.say(f"  [yellow]{signal.severity}[/] {seen}")

    def _record_turn(self, outcome: TurnOutcome) -> None:
        result = outcome.models[MODEL]
        if len(self._report.turns) == 0:
            ingested = [s for s in TurnLog(self._workspace.stores).steps(outcome.turn.id) if s.name == "ingest digits"]
            self._report.rows_ingested += int(str(ingested[0].output["rows_accepted"]))
            self._report.rows_quarantined += int(str(ingested[0].output["rows_quarantined"]))
        self._report.turns.append({"cause": outcome.turn.cause.text, "version": result["version"]})
        self._report.verdicts.append(
            {"version": result["version"], "verdict": result["verdict"], "metrics": result["metrics"]}
        )

    def _champion(self) -> str:
        return f"{MODEL}/{self._workspace.aliases.current(MODEL)}"


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loopwright_demo_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FailedError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def drifted_features(signal: Signal) -> list[str]:
    """Return the features that a drift signal names."""
    tested = signal.evidence.get("features")
    if not isinstance(tested, list):
        return []
    return [str(one["feature"]) for one in tested if isinstance(one, dict) and one.get("drifted")]
