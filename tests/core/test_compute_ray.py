"""The compute port on a Ray of this machine."""

from __future__ import annotations

import importlib.util

import pytest

from loopwright.core.computes import open_compute
from loopwright.core.conformance.compute import SUITE
from loopwright.core.errors import MissingExtraError

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra ray is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def ray():
    compute = open_compute("ray://local", workers=2)
    yield compute
    compute.close()


@pytest.mark.parametrize("promise", SUITE, ids=lambda one: one.__name__)
def test_ray_keeps_the_promises_of_the_port(promise, ray, tmp_path):
    promise(ray, tmp_path)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"loopwright\[ray\]"):
        open_compute("ray://local")
