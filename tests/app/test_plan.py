"""``loopwright plan``: from files, flags and projects to reports; one clear message for what cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopwright.planning.plan import from_json

if TYPE_CHECKING:
    from collections.abc import Callable

WORKLOAD = """
name = "images"
clouds = ["gcp"]
[requests]
per_day = "1M/day"
peak = "50/s"
latency_p99 = "200ms"
payload = "100KB"
[training]
hours = { T4 = 4 }
[[services]]
name = "int8"
mean = "55ms"
vcpus = 1
tag = "measured"
"""
QUICK = ("--draws", "200")
FLAGS = ("--per-day", "200k", "--service-time", "30ms", "--clouds", "gcp")


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    path = tmp_path / "images.toml"
    path.write_text(WORKLOAD)
    return path


def test_a_file_becomes_a_plan_and_its_reports(bare: Callable[..., object], workload: Path, tmp_path: Path) -> None:
    kept, page, text = tmp_path / "out" / "plan.json", tmp_path / "out" / "plan.html", tmp_path / "out" / "plan.md"
    said = bare("plan", str(workload), *QUICK, "--out", str(kept), "--html", str(page), "--markdown", str(text))
    assert (said.code, said.error) == (0, "")
    plan = from_json(json.loads(kept.read_text()))
    assert f"images: ${plan.total.p50_usd:,.2f} a month in gcp us-central1" in said.out
    assert {one.tag for one in plan.assumptions} == {"measured", "given", "assumed"}
    for word in ("measured", "given", "assumed", "Ways for serving", "Savings", "Trap, lifecycle"):
        assert word in said.out
    assert text.read_text().startswith("# Infrastructure plan: images")
    assert page.read_text().rstrip().endswith("</html>")
    again = bare("plan", "make", str(workload), *QUICK, "--json")
    assert json.loads(again.out)["total"] == json.loads(kept.read_text())["total"]


def test_flags_go_over_the_file(bare: Callable[..., object], workload: Path) -> None:
    words = ("--per-day", "2M", "--peak", "100", "--latency", "300ms", "--cadence", "weekly", "--json")
    plan = json.loads(bare("plan", str(workload), *QUICK, *words).out)
    asked = plan["inputs"]["workload"]
    assert (asked["requests_per_day"], asked["peak_rps"], asked["latency_p99"]) == (2e6, 100.0, 0.3)
    assert (asked["payload_bytes"], asked["retrain"]) == (100_000, "weekly")


def test_flags_alone_are_enough(bare: Callable[..., object], tmp_path: Path) -> None:
    said = bare("plan", *FLAGS, *QUICK, "--training", "T4=2h,cpu=9h", "--json", "--project", str(tmp_path))
    plan = json.loads(said.out)
    assert plan["inputs"]["training"]["hours"] == {"T4": 2.0, "cpu": 9.0}
    tags = {one["name"]: one["tag"] for one in plan["assumptions"]}
    assert tags["service_time.model"] == "assumed"
    assert tags["training_hours.T4"] == "given"
    without = json.loads(bare("plan", *FLAGS, *QUICK, "--json", "--project", str(tmp_path)).out)
    assert {one["name"]: one["tag"] for one in without["assumptions"]}["training_hours.cpu"] == "assumed"


def test_a_project_is_planned_by_its_own_workload(bare: Callable[..., object], tmp_path: Path) -> None:
    head = "import loopwright as lw\nloop = lw.Loop('shop')\n"
    (tmp_path / "loop.py").write_text(head)
    said = bare("plan", "--project", str(tmp_path), "--service-time", "20ms")
    assert said.code == 2
    assert "declares no workload" in said.error
    (tmp_path / "loop.py").write_text(
        head + "loop.workload(requests_per_day=300_000, payload='10KB', retention='30d', retrain='weekly')\n"
    )
    said = bare("plan", "--project", str(tmp_path))
    assert said.code == 2
    assert "how long one answer takes" in said.error
    plan = json.loads(
        bare("plan", "--project", str(tmp_path), "--service-time", "20ms", "--clouds", "gcp", *QUICK, "--json").out
    )
    asked = plan["inputs"]["workload"]
    assert (plan["name"], asked["requests_per_day"], asked["payload_bytes"]) == ("shop", 300_000.0, 10_000)
    assert (asked["retention"], asked["retrain"]) == (30 * 86_400.0, "weekly")
    assert asked["peak_rps"] == pytest.approx(3 * 300_000 / 86_400)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nowhere.toml",), 1, "cannot be read"),
        (("--per-day", "-5", "--service-time", "30ms"), 2, "must not be negative"),
        (("--per-day", "1M", "--peak", "1", "--service-time", "30ms"), 2, "lies below the mean"),
        (("--per-day", "many", "--service-time", "30ms"), 2, "is no"),
        ((*FLAGS, "--latency", "1ms"), 2, "ms"),
        ((*FLAGS, "--regions", "us-east-9"), 2, "There is no region with prices 'us-east-9'"),
        (("--per-day", "1M", "--service-time", "30ms", "--clouds", "aws,gpc"), 2, "Did you mean 'gcp'?"),
        ((*FLAGS, "--training", "T4"), 2, "Write A10G=10h"),
        ((*FLAGS, "--prices", "nowhere"), 2, "has no price table"),
        (("--per-day", "1M"), 2, "how long one answer takes"),
        (("--service-time", "30ms"), 2, "There is nothing to plan for"),
        (("diff", "nowhere.json", "nowhere.json"), 1, "cannot be read"),
    ],
)
def test_what_cannot_be_has_one_message(
    bare: Callable[..., object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = bare("plan", *words)
    assert found.code == code
    assert said in found.error
    assert found.error.count("Error:") == 1
    assert "internal fault" not in found.error
    assert found.out == ""


def test_a_workload_file_with_a_wrong_key_or_line(bare: Callable[..., object], workload: Path) -> None:
    workload.write_text(WORKLOAD.replace("per_day", "per_dya"))
    found = bare("plan", str(workload))
    assert found.code == 2
    assert "Did you mean 'per_day'?" in found.error
    workload.write_text("requests = 3")
    assert "'requests' is no table" in bare("plan", str(workload)).error
    workload.write_text("[requests\n")
    assert "is no TOML" in bare("plan", str(workload)).error
    workload.write_bytes(b"\xff\xfe\x00")
    assert "is no text" in bare("plan", str(workload)).error


def test_what_changed_between_two_plans(bare: Callable[..., object], workload: Path, tmp_path: Path) -> None:
    one, two, broken = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "broken.json"
    bare("plan", str(workload), *QUICK, "--out", str(one))
    bare("plan", str(workload), *QUICK, "--per-day", "2M", "--peak", "100", "--out", str(two))
    said = bare("plan", "diff", str(one), str(two))
    assert said.code == 0
    assert "workload.requests_per_day: 1,000,000 → 2,000,000" in said.out
    assert "storage: $" in said.out
    found = json.loads(bare("plan", "diff", str(one), str(two), "--json").out)
    assert found["after_usd"] > found["before_usd"]
    assert bare("plan", "diff", str(one), str(one)).out.rstrip().endswith("Nothing changed.")
    for text, message in (
        ("{", "is no plan"),
        ("[]", "is no plan"),
        ('{"schema": 99}', "schema 99"),
        ("{}", "no plan"),
    ):
        broken.write_text(text)
        refused = bare("plan", "diff", str(one), str(broken))
        assert refused.code in {1, 2}
        assert message in refused.error


def test_no_colours_in_a_pipe(workload: Path) -> None:
    command = [str(Path(sys.executable).parent / "loopwright"), "plan", str(workload), *QUICK]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
