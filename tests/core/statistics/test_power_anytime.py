"""Peeking: a fixed z-test alarms ever more often, the normal-mixture boundary keeps its level. Seeded."""

from __future__ import annotations

import numpy as np

from loopwright.core.statistics.anytime import msprt_p_values
from loopwright.core.statistics.mixtures import best_rho

STREAMS, ROWS, ALPHA = 2000, 5000, 0.05


def test_peeking_is_free_only_for_anytime_valid_tests() -> None:
    rng = np.random.default_rng(0)
    fixed = mixture = martingale = 0
    rho = best_rho(1000, alpha=ALPHA)
    rows = np.arange(1, ROWS + 1)
    boundary = np.sqrt((rows + rho) * np.log((rows + rho) / (rho * ALPHA**2)))
    for _ in range(4):  # in four parts, to hold 20 MB at once instead of 80
        values = rng.normal(size=(STREAMS // 4, ROWS)).astype(np.float32)
        sums = np.abs(values.cumsum(axis=1, dtype=np.float64))
        fixed += int((sums[:, 49::50] >= 1.959964 * np.sqrt(rows[49::50])).any(axis=1).sum())
        mixture += int((sums >= boundary).any(axis=1).sum())
        martingale += int((msprt_p_values(values, variance=1.0, tau_squared=1 / rho)[:, -1] <= ALPHA).sum())
    assert 0.32 <= fixed / STREAMS <= 0.40  # 100 peeks at a nominal 5 %
    limit = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / STREAMS)
    assert mixture / STREAMS <= limit
    assert mixture == martingale  # the same test in two forms
