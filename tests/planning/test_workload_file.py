import json
from datetime import timedelta
from pathlib import Path

import pytest

from loopwright.core.errors import DeclarationError, SourceError, UnknownNameError
from loopwright.planning.workload_file import read_workload

GOOD = """
name = "images"
[requests]
per_day = "1M/day"
peak = "50/s"
latency_p99 = "200ms"
payload = "100KB"
[training]
cadence = "weekly"
hours = { A10G = 10, T4 = "20h" }
[[services]]
name = "fp32"
vcpus = 4
mean = "50ms"
cv2 = 0.05
"""


def written(folder: Path, text: str, name: str = "workload.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_human_units(tmp_path: Path) -> None:
    found = read_workload(written(tmp_path, GOOD))
    assert found.workload.requests_per_day == 1e6
    assert found.workload.peak_rps == 50
    assert found.workload.latency_p99 == timedelta(milliseconds=200)
    assert found.workload.payload_bytes == 100_000
    assert found.workload.retrain == "weekly"
    assert dict(found.training.hours) == {"A10G": 10.0, "T4": 20.0}
    assert found.services[0].mean_s == 0.05
    assert "peak_rps" in found.workload.given
    assert found.workload.burst_factor is None


def test_yaml_says_the_same(tmp_path: Path) -> None:
    tables = {
        "name": "images",
        "requests": {"per_day": "1M/day", "peak": "50/s", "latency_p99": "200ms", "payload": "100KB"},
        "training": {"cadence": "weekly", "hours": {"A10G": 10, "T4": "20h"}},
        "services": [{"name": "fp32", "vcpus": 4, "mean": "50ms", "cv2": 0.05}],
    }
    as_yaml = read_workload(written(tmp_path, json.dumps(tables), "workload.yaml"))
    assert as_yaml == read_workload(written(tmp_path, GOOD))


def test_every_example_is_read() -> None:
    folder = Path(__file__).parents[2] / "examples" / "plans"
    names = {read_workload(path).workload.name for path in folder.glob("*.toml")}
    assert {"image-classification", "small-project", "churn-batch", "fraud-stream"} <= names


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('peak = "50/s"', 'peek = "50/s"', r"no key 'peek' in \[requests\]. Did you mean 'peak'"),
        ('peak = "50/s"', 'peak = "5/s"', r"peak_rps=5 lies below the mean of 11.6"),
        ('peak = "50/s"', 'peak = "-50/s"', r"peak in \[requests\]: a rate must not be negative"),
        ('"1M/day"', '"-1M/day"', r"per_day in \[requests\]: a rate must not be negative"),
        ('"1M/day"', '"lots"', r"per_day in \[requests\]: 'lots' is no count"),
        ('"200ms"', '"soon"', r"'soon' is not a duration"),
        ('"200ms"', '"5ms"\nnetwork = "10ms"', r"The network takes 10 of the 5 ms"),
        ('cadence = "weekly"', 'cadence = "often"', r"'often' is no cadence"),
        ('name = "images"', 'name = "images"\nclouds = ["asw"]', r"no cloud 'asw'. Did you mean 'aws'"),
        ('name = "images"', 'nmae = "images"', r"no key 'nmae' at the top. Did you mean 'name'"),
        ('mean = "50ms"', 'mean = "0ms"', r"A service time is more than 0"),
        ('mean = "50ms"', "", r"'fp32' has no mean"),
        ('mean = "50ms"', 'mean = "50ms"\nlargest_batch = 8', r"the time of a batch is not known"),
        ('mean = "50ms"', 'mean = "50ms"\nkind = "gpu"', r"A GPU service names its accelerator"),
        ("[[services]]", "[data.row]\n[[services]]", r"no kind of data 'row' in \[data\]. Did you mean 'raw'"),
        ("[[services]]", "[[services]]\nname = 'fp32'\nmean = '1ms'\n[[services]]", r"Two service models"),
        ("[training]", "[training", r"is no TOML"),
        ('name = "images"', "min_nodes = 1e17", r"no usable number|min_nodes=10+"),
        ('name = "images"', "min_nodes = 0", r"min_nodes=0"),
        ("[training]", "[fixed]\nnodes = 5000\n[training]", r"nodes=5000 cannot be"),
        ("[training]", "[[batches]]\nname = 'nightly'\n[training]", r"'nightly' in \[\[batches\]\] has no rows"),
        ("[training]", "[[streams]]\nname = 's'\n[training]", r"has no events"),
    ],
)
def test_bad_input_has_one_clear_message(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises((DeclarationError, UnknownNameError), match=message):
        read_workload(written(tmp_path, GOOD.replace(old, new, 1)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_workload(tmp_path / "none.toml")
