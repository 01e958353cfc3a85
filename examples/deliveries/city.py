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


class City:
    """Makes the orders of a day; the same seed makes the same city.

    Args:
        seed: Of couriers, orders and weather.
        first_day: Midnight at which day 0 begins.
        orders_per_day: How many orders a day has on average.
    """

    def __init__(self, seed: int = 0, *, first_day: datetime = FIRST_DAY, orders_per_day: int = ORDERS_PER_DAY) -> None:
        self.first_day = first_day
        self._seed = seed
        self._orders_per_day = orders_per_day
        random = np.random.default_rng(seed)
        self._pace = random.lognormal(np.log(2.6), 0.18, COURIERS)  # minutes per kilometre
        self._city = random.integers(0, len(CITIES), COURIERS)

    def day(self, number: int) -> pd.DataFrame:
        """Return the orders of one day, by the time they were placed.

        Columns: ``order_id``, ``courier_id``, ``city``, ``distance_km``, ``rain_mm``, ``placed_at``, ``minutes``.
        """
        random = np.random.default_rng([self._seed, number])
        count = int(random.poisson(self._orders_per_day))
        courier = random.integers(0, COURIERS, count)
        city = self._city[courier]
        hour = 8 + (random.normal(17, 3.5, count) - 8) % 15.9
        distance = np.clip(random.gamma(2.2, 1.6, count), 0.3, 25)
        rain = np.maximum(0, random.normal(-1, 3, count))  # showers are short: each order has its own
        traffic = 1 + 0.35 * np.exp(-((hour - 17.5) ** 2) / 4)
        detour = np.where((number >= ROADWORKS_DAY) & (city == CITIES.index("Bergen")), DETOUR, 1.0)
        minutes = 4 + distance * self._pace[courier] * traffic * detour + 0.6 * rain + random.normal(0, 2, count)
        start = self.first_day + timedelta(days=number)
        placed = [start + timedelta(hours=float(value)) for value in hour]
        frame = pd.DataFrame(
            {
                "order_id": [f"{start:%Y%m%d}-{index:04d}" for index in range(count)],
                "courier_id": [f"c{value:02d}" for value in courier],
                "city": [CITIES[value] for value in city],
                "distance_km": np.round(distance, 2),
                "rain_mm": np.round(rain, 1),
                "placed_at": pd.to_datetime(placed, utc=True).floor("ms"),
                "minutes": np.round(np.maximum(minutes, 3), 1),
            }
        )
        return frame.sort_values("placed_at", kind="stable", ignore_index=True)


def write_days(city: City, folder: Path, days: range) -> int:
    """Write one Parquet file a day, named by its date, and return the number of orders."""
    folder.mkdir(parents=True, exist_ok=True)
    orders = 0
    for number in days:
        frame = city.day(number)
        name = f"{city.first_day + timedelta(days=number):%Y-%m-%d}"
        frame.to_parquet(folder / f"{name}.partial", index=False)
        (folder / f"{name}.partial").rename(folder / f"{name}.parquet")
        orders += len(frame)
    return orders


def catch_up(folder: Path, today: datetime, *, days: int = 35) -> int:
    """Write what is missing up to yesterday: at first so many days, later those since; return the number of orders."""
    written = sorted(path.stem for path in folder.glob("*.parquet"))
    first = datetime.fromisoformat(written[0]).replace(tzinfo=UTC) if written else today - timedelta(days=days)
    return write_days(City(first_day=first), folder, range(len(written), (today - first).days))


def main() -> None:
    """Bring ``data/orders`` beside this file up to yesterday."""
    folder = Path(__file__).parent / "data" / "orders"
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    print(f"{catch_up(folder, today)} new orders in {folder}")


if __name__ == "__main__":
    main()
