"""A seeded city for the deliveries example: couriers, orders, and roads that change on a known day.

Minutes of a delivery = 4 + distance x pace of the courier x traffic of the hour + rain, with noise. On
:data:`ROADWORKS_DAY` the bridge closes: every trip in Bergen takes 60 % longer per kilometre from then on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
ROADWORKS_DAY = 42
ORDERS_PER_DAY = 300
COURIERS = 40
CITIES = ("Oslo", "Bergen")
DETOUR = 1.6
LABEL_DELAY = timedelta(hours=2)


class City:
    """Makes the orders of a day; the same seed makes the same city."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        random = np.random.default_rng(seed)
        self._pace = random.lognormal(np.log(2.6), 0.18, COURIERS)  # minutes per kilometre
        self._city = random.integers(0, len(CITIES), COURIERS)

    def day(self, number: int) -> pd.DataFrame:
        """Return the orders of one day, by the time they were placed.

        Columns: ``order_id``, ``courier_id``, ``city``, ``distance_km``, ``rain_mm``, ``placed_at``, ``minutes``.
        """
        random = np.random.default_rng([self._seed, number])
        count = int(random.poisson(ORDERS_PER_DAY))
        courier = random.integers(0, COURIERS, count)
        city = self._city[courier]
        hour = 8 + (random.normal(17, 3.5, count) - 8) % 15.9
        distance = np.clip(random.gamma(2.2, 1.6, count), 0.3, 25)
        rain = max(0.0, float(random.normal(-1, 3)))
        traffic = 1 + 0.35 * np.exp(-((hour - 17.5) ** 2) / 4)
        detour = np.where((number >= ROADWORKS_DAY) & (city == CITIES.index("Bergen")), DETOUR, 1.0)
        minutes = 4 + distance * self._pace[courier] * traffic * detour + 0.6 * rain + random.normal(0, 2, count)
        start = FIRST_DAY + timedelta(days=number)
        placed = [start + timedelta(hours=float(value)) for value in hour]
        frame = pd.DataFrame(
            {
                "order_id": [f"o{number:04d}-{index:04d}" for index in range(count)],
                "courier_id": [f"c{value:02d}" for value in courier],
                "city": [CITIES[value] for value in city],
                "distance_km": np.round(distance, 2),
                "rain_mm": round(rain, 1),
                "placed_at": pd.to_datetime(placed, utc=True).floor("ms"),
                "minutes": np.round(np.maximum(minutes, 3), 1),
            }
        )
        return frame.sort_values("placed_at", kind="stable", ignore_index=True)


def write_days(city: City, folder: Path, days: range) -> int:
    """Write one Parquet file a day and return the number of orders."""
    folder.mkdir(parents=True, exist_ok=True)
    orders = 0
    for number in days:
        frame = city.day(number)
        partial = folder / f"day-{number:04d}.partial"
        frame.to_parquet(partial, index=False)
        partial.rename(folder / f"day-{number:04d}.parquet")
        orders += len(frame)
    return orders


def main() -> None:
    """Write the first 35 days into ``data/orders`` beside this file."""
    folder = Path(__file__).parent / "data" / "orders"
    print(f"{write_days(City(), folder, range(35))} orders in {folder}")


if __name__ == "__main__":
    main()
