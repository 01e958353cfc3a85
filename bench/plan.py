# ruff: noqa: PLC0415 - loading is measured too
"""How long a full plan takes and what memory it needs: the exercise over three clouds, 2,000 draws.

    python bench/plan.py                 # examples/plans/image-classification.toml
    python bench/plan.py small-project   # another of the examples

Each of three rounds runs in a process of its own, so that nothing is remembered between them. Printed are the seconds
of loading (imports, prices, the file), of the plan itself by the wall and by the processor, and the peak of resident
memory. The bounds: 5 seconds after loading, 500 MB.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "plans"
ROUNDS = 3


def one_round(name: str) -> dict[str, float]:
    began = time.perf_counter()
    from datetime import UTC, datetime

    from loopwright.planning.planner import make_plan
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.workload_file import read_workload

    today = datetime.now(UTC).date()
    prices = PriceTable.load(today=today)
    asked = read_workload(EXAMPLES / f"{name}.toml")
    loaded, processor = time.perf_counter(), time.process_time()
    plan = make_plan(asked.workload, asked.services, asked.training, prices, today=today)
    return {
        "load_s": loaded - began,
        "plan_s": time.perf_counter() - loaded,
        "plan_cpu_s": time.process_time() - processor,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "usd_p50": plan.total.p50_usd,
        "draws": plan.draws,
    }


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "image-classification"
    if len(sys.argv) > 2:
        print(json.dumps(one_round(name)))
        return
    rounds = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, __file__, name, "child"], capture_output=True, text=True, check=True)
        rounds.append(json.loads(done.stdout))
    print(f"{name}: {ROUNDS} rounds, medians; {rounds[0]['draws']} draws")
    for key, said in (
        ("load_s", "load, s"),
        ("plan_s", "plan, s"),
        ("plan_cpu_s", "plan, s of processor"),
        ("peak_mb", "peak memory, MB"),
        ("usd_p50", "plan, $ a month"),
    ):
        print(f"  {said:22} {statistics.median(one[key] for one in rounds):9.2f}")


if __name__ == "__main__":
    main()
