"""Whatever stands in a workload file, the answer is a workload or one clear message, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import LoopwrightError
from loopwright.planning.workload_file import read_workload, request_of

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "plans").glob("*.toml"))
TEXTS = [path.read_bytes() for path in EXAMPLES]
TABLES = [tomllib.loads(text.decode()) for text in TEXTS]
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.just([]), st.just({}), st.just([[]]),
    st.just([{}]), st.just({"a": 1}), st.sampled_from(["", "-1", "1e999", "nan", "inf", "9" * 400, "1M/day", "1y"]),
    st.dates(), st.lists(st.integers(), max_size=3),
)  # fmt: skip


def read(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workload.toml"
        path.write_bytes(content)
        with contextlib.suppress(LoopwrightError):
            read_workload(path)


@given(st.sampled_from(TEXTS), st.data())
def test_a_file_with_bytes_changed(text: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    read(text[:start] + data.draw(st.binary(max_size=12)) + text[end:])


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    read(content)


@given(st.sampled_from(TABLES), st.data(), ODD)
def test_a_value_replaced_by_any_other(tables: dict[str, object], data: st.DataObject, odd: object) -> None:
    changed = copy.deepcopy(tables)
    place: object = changed
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], (dict, list)) or data.draw(st.integers(0, 3)) == 0:
            place[key] = odd
            break
        place = place[key]
    with contextlib.suppress(LoopwrightError):
        request_of(changed)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00", b"a = 1\na = 2", b"[" * 2000, b"[requests]\n"])
def test_what_says_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "workload.toml"
    path.write_bytes(content)
    with pytest.raises(LoopwrightError):
        read_workload(path)
    with pytest.raises(LoopwrightError):
        read_workload(tmp_path)
