"""In how many of the draws a fleet keeps its limit, and how many machines make that nine of ten.

A fleet that is sized on the middle of every input fails in half of the cases. So the upper bound of machines is raised
until the drawn peak, bursts included, is carried by all of them within the limit in at least nine of ten draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.planning.fitting import Fit
    from loopwright.planning.sizing import Sizing
    from loopwright.planning.uncertainty import Uncertainty

SURE = 0.9


class Sureness:
    """What is sure under the draws of one plan.

    Args:
        rate: What has to be carried at the peak, bursts included, per second.
        driver: The input that it follows.
        sizing: What is known of the services at this limit.
        unsure: The draws.
    """

    def __init__(self, rate: float, driver: str, sizing: Sizing, unsure: Uncertainty) -> None:
        self._rate = rate
        self._driver = driver
        self._sizing = sizing
        self._unsure = unsure
        self._kept: dict[tuple[str, float, str, int], NDArray[np.bool_]] = {}

    def keeps(self, found: Fit, servers: int) -> NDArray[np.bool_]:
        """Return in which draws so many servers carry the drawn peak within the limit."""
        where = found.instance.accelerator or found.instance.architecture
        key = (found.base.name, found.scale, where, servers)
        if key not in self._kept:
            slower = self._unsure.factor(f"service_time.{found.base.name}") * found.scale
            if found.service.ratio_spread:
                slower = slower * np.exp(found.service.ratio_spread * self._unsure.draws.normal(f"ratio.{where}"))
            carried = self._sizing.capacity(found.base).rate(servers, self._sizing.room_s, slower)
            self._kept[key] = np.asarray(carried >= self._rate * self._unsure.factor(self._driver))
        return self._kept[key]

    def machines(self, found: Fit, workers: int, least: int) -> int:
        """Return the fewest machines, ``least`` or more, that are sure enough; ``least`` where no number is.

        No number is sure where the service alone is too slow in too many draws.
        """
        count = least
        while count <= 3 * least + 3:
            if float(self.keeps(found, count * workers).mean()) >= SURE:
                return count
            count += max(1, count // 50)
        return least
