import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.hashing import digest_bytes, digest_file, digest_function, digest_json, source_of

FACTOR = 2


def helper(x: float) -> float:
    return x + 1


def with_comment(x: float) -> float:
    """Say something."""
    # and something else
    return x * FACTOR


def without_comment(x: float) -> float:
    return x * FACTOR


def with_other_constant(x: float) -> float:
    return x * 3


def through_helper(x: float) -> float:
    return helper(x)


def closing_over(n: int) -> Callable[[float], float]:
    return lambda x: x + n


def test_comments_and_docstrings_do_not_count() -> None:
    assert digest_function(with_comment) == digest_function(without_comment)


def test_the_body_closures_and_helpers_count(monkeypatch) -> None:
    assert digest_function(without_comment) != digest_function(with_other_constant)
    assert digest_function(closing_over(1)) != digest_function(closing_over(2))
    before = digest_function(through_helper), digest_function(without_comment)
    monkeypatch.setitem(globals(), "helper", with_other_constant)
    monkeypatch.setitem(globals(), "FACTOR", 5)
    assert digest_function(through_helper) != before[0]
    assert digest_function(without_comment) != before[1]


def test_other_files_of_the_project_count(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_steps").mkdir()
    texts = {
        "own_steps/__init__.py": "",
        "own_steps/deep.py": "LIMIT = 3\ndef clip(x):\n    return min(x, LIMIT)\n",
        "own_model.py": "from dataclasses import dataclass\nfrom functools import cache\n"
        "@dataclass\nclass Model:\n    rate: float = 0.5\n    def fit(self):\n        return twice(self.rate)\n"
        "@cache\ndef twice(x):\n    return x * 2\ndef unused():\n    return 1\n",
        "own_loop.py": "import own_steps.deep\nimport own_model\nfrom own_model import Model\nimport json\n"
        "def train(x):\n    return Model().fit() + own_steps.deep.clip(x) + len(json.dumps(x))\n",
    }

    def digest(**changed: tuple[str, str]) -> str:
        for path, text in texts.items():
            old, new = changed.get(Path(path).stem, ("", ""))
            (tmp_path / path).write_text(text.replace(old, new) if old else text)
        for name in [name for name in sys.modules if name.startswith("own_")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "dont_write_bytecode", True)
            return digest_function(importlib.import_module("own_loop").train)

    before = digest()
    assert digest() == before
    assert digest(own_model=("return 1", "return 2")) == before, "nothing names it"
    assert digest(deep=("LIMIT = 3", "LIMIT = 4")) != before
    assert digest(deep=("min", "max")) != before
    assert digest(own_model=("rate: float = 0.5", "rate: float = 0.6")) != before
    assert digest(own_model=("twice(self.rate)", "self.rate")) != before
    assert digest(own_model=("x * 2", "x * 3")) != before


def test_recursion_ends() -> None:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert digest_function(factorial) == digest_function(factorial)


def test_source_is_unindented() -> None:
    assert source_of(helper).startswith("def helper")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    assert digest_json(value) == digest_json(dict(reversed(value.items())))


def test_a_file_has_the_digest_of_its_bytes(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert digest_file(tmp_path / "a") == digest_bytes(b"abc" * 1000)
