from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from loopwright.core.errors import NotFoundRequestError
from loopwright.serving.releases.router import Routing, unit_hash

salts = st.text(max_size=20)
units = st.text(max_size=40)
shares = st.floats(0, 1)


@given(salts, units, shares)
def test_a_unit_always_goes_the_same_way(salt, unit, share):
    routing = Routing(1, 2, "canary", share, salt)
    assert routing.assign(unit) == Routing(1, 2, "canary", share, salt).assign(unit)


@given(salts, units, shares, shares)
def test_a_unit_in_the_canary_stays_in_it_as_the_share_grows(salt, unit, one, other):
    low, high = sorted((one, other))
    if Routing(1, 2, "canary", low, salt).assign(unit).arm == "challenger":
        assert Routing(1, 2, "canary", high, salt).assign(unit).arm == "challenger"


@given(salts, units)
def test_nobody_is_in_an_empty_canary_and_all_are_in_a_full_one(salt, unit):
    assert Routing(1, 2, "canary", 0.0, salt).assign(unit).arm == "champion"
    assert Routing(1, 2, "canary", 1.0, salt).assign(unit).arm == "challenger"


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5])
@pytest.mark.parametrize("salt", ["a", "0198c0de"])
def test_the_share_is_the_share(share, salt):
    n = 20_000
    routing = Routing(1, 2, "canary", share, salt)
    hits = sum(routing.assign(f"unit-{i}").arm == "challenger" for i in range(n))
    low, high = binom.interval(1 - 1e-6, n, share)
    assert low <= hits <= high


def test_two_salts_split_independently():
    n = 20_000
    both = sum(
        Routing(1, 2, "canary", 0.5, "a").assign(str(i)).arm == Routing(1, 2, "canary", 0.5, "b").assign(str(i)).arm
        for i in range(n)
    )
    low, high = binom.interval(1 - 1e-6, n, 0.5)
    assert low <= both <= high


@given(salts, units, st.floats(0.01, 0.99))
def test_the_propensity_is_that_of_the_arm_taken(salt, unit, share):
    taken = Routing(1, 2, "canary", share, salt).assign(unit)
    assert taken.propensity == (share if taken.arm == "challenger" else 1 - share)
    assert taken.route == ("canary" if taken.arm == "challenger" else "champion")


def test_a_shadow_mirrors_and_never_answers():
    taken = Routing(1, 2, "shadow", salt="s").assign("u")
    assert (taken.arm, taken.route, taken.mirrored, taken.propensity) == ("champion", "champion", True, 1.0)


def test_a_pinned_version_answers_whatever_the_hash_says():
    routing = Routing(1, 2, "canary", 0.0, "s")
    assert routing.assign("u", pinned=2).arm == "challenger"
    assert routing.assign("u", pinned=2).route == "pinned"
    assert routing.assign("u", pinned=1).arm == "champion"
    with pytest.raises(NotFoundRequestError, match="Served now: 1, 2"):
        routing.assign("u", pinned=3)


def test_the_hash_is_fixed_for_ever():
    # The log records it; another value would break every recomputation.
    assert unit_hash("release", "courier-7") == 5730222242863381845
