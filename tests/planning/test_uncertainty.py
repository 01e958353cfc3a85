import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.planning.cost import CostLine, Price
from loopwright.planning.uncertainty import PRICES, Draws, Uncertainty, band, winners

SURE = Price(2.0, "hour", "a list", "2026-07-01", 0.0)
UNSURE = Price(2.0, "hour", "another list", "2026-07-01", 0.1)


def line(price: Price = SURE, drivers: tuple[tuple[str, float], ...] = ()) -> CostLine:
    return CostLine("serving", "machines", 50.0, price, "", drivers)


def unsure(**spreads: float) -> Uncertainty:
    return Uncertainty(Draws(3, 20_000), spreads)


def test_a_line_that_nothing_drives_is_sure() -> None:
    assert set(unsure().cost([line()])) == {100.0}


def test_a_driver_spreads_by_its_power() -> None:
    found = unsure(requests=0.15).cost([line(drivers=(("requests", 2.0),))])
    assert np.median(found) == pytest.approx(100, rel=0.01)
    assert np.log(found).std() == pytest.approx(0.3, rel=0.03)


def test_prices_lie_evenly_in_their_band() -> None:
    found = unsure().cost([line(UNSURE)])
    assert found.std() == pytest.approx(10, rel=0.03)
    assert found.min() > 100 * (1 - 0.1 * 3**0.5) - 1e-9


def test_all_alternatives_see_the_same_draws() -> None:
    draws = unsure(requests=0.2)
    cheap = draws.cost([line(drivers=(("requests", 1.0),))])
    dear = draws.cost([line(drivers=(("requests", 1.0),)), CostLine("serving", "more", 0.01, SURE)])
    assert (cheap < dear).all()
    won = winners(np.array([cheap, dear]), np.ones((2, 20_000), dtype=bool))
    assert won.tolist() == [1.0, 0.0]


def test_draws_in_which_an_alternative_fails_count_against_it() -> None:
    costs = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    keeps = np.array([[True, False, False, False], [True, True, True, False]])
    assert winners(costs, keeps).tolist() == [0.25, 0.5]


def test_what_is_stored_comes_from_what_is_asked() -> None:
    draws = unsure(requests=0.15, volume=0.15)
    assert (draws.factor("volume") == draws.factor("requests")).all()


def test_the_tornado_names_what_matters_first() -> None:
    lines = [line(UNSURE, (("requests", 1.0),)), line(SURE, (("service_time", 0.5),))]
    swings = unsure(**{"requests": 0.3, "service_time.int8": 0.1}).tornado([(lines, "int8")])
    assert [swing.name for swing in swings] == ["requests", PRICES, "service_time.int8"]
    assert swings[0].low_usd < 200 < swings[0].high_usd
    assert swings[0].high_usd == pytest.approx(100 * np.exp(0.3) + 100)


@given(st.integers(0, 2**31), st.sampled_from(["requests", "peak", "ratio.arm"]))
def test_a_seed_gives_the_same_draws_in_any_order(seed: int, name: str) -> None:
    first, second = Draws(seed, 5), Draws(seed, 5)
    second.normal("something else")
    assert (first.normal(name) == second.normal(name)).all()
    assert (abs(first.uniform(name)) <= 1).all()


def test_a_band_is_in_order() -> None:
    found = band(np.arange(101.0))
    assert (found.p5_usd, found.p50_usd, found.p95_usd) == (5.0, 50.0, 95.0)
