"""The electricity stream ("Elec2"): a loop that retrains by itself, against its own first model frozen at the start.

    python bench/elec2.py                       # reads ../shared/data/elec2.parquet
    python bench/elec2.py --tick-days 1         # the controller looks every day instead of every third
    python bench/elec2.py --days 300            # only the first 300 days

Prequential: every half-hour's row is predicted by the version that is champion at that moment (one call of the
serving endpoint per row, logged), and its label is handed over at the first tick at least one day (48 rows) later.
Nothing but the controller decides when to train: its tick joins labels to predictions, watches realised loss, and
begins a turn that must beat the champion on sealed rows; a canary then promotes it. The first model learns from the
first 60 days; accuracy is counted on all days after these, for the loop and for that first model alike.

Features, the strict convention: `nswprice` (which all but determines the label) and `date` are dropped, and so is any
past label. What is left: the weekday, the half-hour of the day, the demand of New South Wales, price and demand of
Victoria, and the transfer between them. The baseline "the label of half an hour before" (85.3 %) is shown for
comparison only: with labels a day late nobody could use it; the label of the same half-hour two days before could be
used, and is shown too.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import structlog
from sklearn.ensemble import HistGradientBoostingClassifier

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.loop.controller import Controller
from loopwright.loop.turn import TurnOutcome, run_turn
from loopwright.loop.turn_process import turn_for
from loopwright.serving.calls.endpoint import InferenceCall
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.predictor import Predictor
from loopwright.serving.server.server import Server, ServerPlan
from loopwright.workspace import Workspace

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "elec2.parquet"
FEATURES = ["day", "period", "nswdemand", "vicprice", "vicdemand", "transfer"]
PER_DAY = 48
FIRST_DAYS = 60
NEWEST_ROWS = 90 * PER_DAY
POINTS = 0.04


def declare(seed: int) -> lw.Loop:
    """Declare the loop."""
    loop = lw.Loop("elec2")
    market = loop.dataset(
        "market",
        source=lw.push(),
        event_time="at",
        key="row",
        contract=[
            lw.column("row", "int"),
            lw.column("at", "timestamp"),
            *(lw.column(name, "float") for name in FEATURES),
            lw.column("y", "int", between=(0, 1)),
        ],
    )

    @loop.model(
        "price",
        label=lw.label(market.y, arrives_after="1d"),
        features=[market["day", "period", "nswdemand", "vicprice", "vicdemand", "transfer"]],
        holdout=lw.latest("5d"),
        metrics=["accuracy"],
        params={"max_iter": 60, "max_leaf_nodes": 15, "learning_rate": 0.1, "early_stopping": False},
        gates=[lw.beats_champion("accuracy", confidence=0.8)],
        seed=seed,
    )
    def price(train: lw.TrainingSet, params: lw.Params, seed: int):
        newest = train.take(train.event_times.argsort()[-NEWEST_ROWS:])
        return HistGradientBoostingClassifier(**params, random_state=seed).fit(newest.X, newest.y)

    loop.deploy(price, online=lw.online(canary=[50, 100], min_requests_per_step=20, step_time="0s"))
    loop.monitor(price, errors=0.01, drift="weekly")
    loop.retrain(price, on=[lw.loss_above_reference(fresh_rows=96)], cooldown="3d", max_turns=10, per="30d")
    return loop


class Stream:
    """Lives through the days of the stream."""

    def __init__(self, rows: pd.DataFrame, workspace: Workspace, loop: lw.Loop, clock: ManualClock) -> None:
        self.rows = rows
        self.workspace = workspace
        self.loop = loop
        self.clock = clock
        self.answers = np.full(len(rows), -1)
        self.turns: list[TurnOutcome] = []
        self.signals: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.pushed = 0
        self._records = rows[FEATURES].to_dict("records")
        self._moments = [moment.to_pydatetime() for moment in rows["at"]]

    def timed(self, what: str, action, *arguments):
        """Call something and count its seconds under a name."""
        began = time.perf_counter()
        result = action(*arguments)
        self.seconds[what] += time.perf_counter() - began
        return result

    def push_until(self, row: int) -> None:
        """Hand over the rows before ``row`` that were not handed over yet, with their labels."""
        new = self.rows.iloc[self.pushed : row]
        self.workspace.data.push(self.loop.datasets["market"], new[["row", "at", *FEATURES, "y"]])
        self.pushed = row

    def begin(self) -> None:
        """Train the first model on the first days, and put it online."""
        self._go_to(FIRST_DAYS * PER_DAY + PER_DAY)
        self.push_until(FIRST_DAYS * PER_DAY)
        self.timed("first turn", lambda: run_turn(self.loop, self.workspace))
        plan = ServerPlan(models={"price": self.loop.models["price"].online})
        self.server = Server(self.workspace.stores, RegistrySource(self.workspace.stores), plan)
        self.server.watch.check()
        self.controller = Controller(self.loop, self.workspace, self._turn)

    async def _ask(self, numbers: range) -> None:
        endpoint = self.server.endpoints["price"]
        for number in numbers:
            call = InferenceCall(rows=[self._records[number]], protocol="rows", keys=[str(number)])
            self.answers[number] = (await endpoint.answer(call)).answers.values[0]

    def _turn(self, decision) -> None:
        began = time.perf_counter()
        self.turns.append(turn_for(self.loop, self.workspace, decision))
        self.seconds["turns"] += time.perf_counter() - began

    def _go_to(self, row: int) -> None:
        moment = self._moments[0] + timedelta(minutes=30) * row
        if moment > self.clock.now():
            self.clock.advance(moment - self.clock.now())

    def live(self, days: range, tick_days: int) -> None:
        """Predict each day's rows as they come; every ``tick_days`` days the labels known by then come, and a tick."""
        with asyncio.Runner() as runner:
            for day in days:
                start = day * PER_DAY
                self._go_to(start)
                self.timed("predictions", lambda s=start: runner.run(self._ask(range(s, s + PER_DAY))))
                self._go_to(start + PER_DAY)
                if day % 100 == 0:
                    print(f"day {day}: {len(self.turns)} turns", file=sys.stderr, flush=True)
                if (day + 1) % tick_days == 0:
                    self.timed("push", self.push_until, start)
                    turning = self.seconds["turns"]
                    report = self.timed("ticks", self.controller.tick)
                    self.seconds["ticks"] -= self.seconds["turns"] - turning
                    self.signals.update(signal.check for signal in report.signals)
                    self.timed("swaps", self.server.watch.check)

    def frozen(self, numbers: range) -> np.ndarray:
        """Ask the first version about every row."""
        loaded = self.workspace.registry.load(self.workspace.registry.get("price", 1))
        predictor = Predictor(loaded, online=None, clock=self.clock)
        return np.array(predictor.predict_many([self._records[number] for number in numbers]).values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--days", type=int, default=944)
    parser.add_argument("--tick-days", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    options = parser.parse_args()
    if not options.data.is_file():
        sys.exit(f"{options.data} is not there. Put the file there, or name it with --data.")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    rows = pd.read_parquet(options.data).sort_values("row", ignore_index=True)
    rows["at"] = rows["ts_nominal"].dt.tz_localize("UTC").astype("datetime64[us, UTC]")
    days = range(FIRST_DAYS, min(options.days, len(rows) // PER_DAY))
    numbers = range(days.start * PER_DAY, days.stop * PER_DAY)
    clock = ManualClock(datetime(1996, 5, 7, tzinfo=UTC))
    profile = cProfile.Profile()
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="elec2-") as folder,
        Workspace.open(Path(folder), clock=clock, ids=Ids(clock, seeded_entropy(options.seed))) as workspace,
    ):
        stream = Stream(rows, workspace, declare(options.seed), clock)
        stream.begin()
        if options.profile:
            profile.enable()
        stream.live(days, options.tick_days)
        profile.disable()
        frozen = stream.frozen(numbers)
        promotions = len(workspace.aliases.history("price")) - 1
    seconds = time.perf_counter() - began
    truth = rows["y"].to_numpy()
    part = slice(numbers.start, numbers.stop)
    ours, first = stream.answers[part] == truth[part], frozen == truth[part]
    print(f"{len(numbers):,} rows in {len(days)} days, labels one day late, a tick every {options.tick_days} days")
    print(f"features: {', '.join(FEATURES)} (nswprice, date and past labels are not used)")
    print(f"previous label             {np.mean(truth[part] == truth[numbers.start - 1 : numbers.stop - 1]):.2%}")
    two_days = truth[numbers.start - 2 * PER_DAY : numbers.stop - 2 * PER_DAY]
    print(f"label two days before      {np.mean(truth[part] == two_days):.2%}")
    print(f"first model, frozen        {first.mean():.2%}")
    print(f"the loop                   {ours.mean():.2%}   ({100 * (ours.mean() - first.mean()):+.1f} points)")
    verdicts = Counter(str(turn.models["price"]["verdict"]) for turn in stream.turns)
    print(f"turns {len(stream.turns)} ({dict(verdicts)}), promotions {promotions}, signals {dict(stream.signals)}")
    print(
        "seconds " + ", ".join(f"{name} {value:.1f}" for name, value in stream.seconds.items()) + f", all {seconds:.1f}"
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(70)
    if ours.mean() - first.mean() < POINTS:
        sys.exit(1)


if __name__ == "__main__":
    main()
