"""McNemar: published values and symmetry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopwright.core.statistics.mcnemar import mcnemar


@pytest.mark.parametrize(
    ("b", "c", "exact"), [(10, 2, 0.0385742), (25, 10, 0.0166738), (6, 0, 0.03125), (5, 0, 0.0625), (0, 0, 1.0)]
)
def test_exact_values(b: int, c: int, exact: float) -> None:
    assert mcnemar(b, c).exact == pytest.approx(exact, abs=6e-8)


def test_all_forms_of_one_table() -> None:
    result = mcnemar(121, 59)
    assert result.chi_square == pytest.approx(21.3556, abs=5e-5)
    # Published as 3.8158e-6; the statistic 62^2 / 180 gives 3.8151e-6 in SciPy as well.
    assert result.chi_square_p == pytest.approx(stats.chi2.sf(62**2 / 180, 1), rel=1e-12)
    assert result.chi_square_p == pytest.approx(3.8158e-6, rel=2e-4)
    assert result.corrected == pytest.approx(20.6722, abs=5e-5)
    assert result.exact == pytest.approx(4.4344e-6, rel=2e-5)
    assert mcnemar(10, 2).mid_p == pytest.approx(0.0224609, abs=5e-8)


@given(st.integers(0, 300), st.integers(0, 300))
def test_symmetric_and_exact(b: int, c: int) -> None:
    assert mcnemar(b, c) == mcnemar(c, b)
    assert mcnemar(b, c).mid_p <= mcnemar(b, c).exact <= 1
    if b + c:
        assert mcnemar(b, c).exact == pytest.approx(stats.binomtest(b, b + c).pvalue, rel=1e-9)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 0)
