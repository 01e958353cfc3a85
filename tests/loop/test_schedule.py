from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.loop.schedule import last_due, next_due


@given(
    st.sampled_from(["0 3 1 * *", "*/5 * * * *", "30 14 * * 1-5", "0 0 29 2 *"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),  # noqa: DTZ001
)
def test_last_and_next_lie_around_the_moment(cron: str, moment: datetime) -> None:
    last, following = last_due(cron, moment), next_due(cron, moment)
    assert last <= moment < following
    assert next_due(cron, last) == following


def test_the_moment_itself_is_due() -> None:
    moment = datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert last_due("0 3 1 * *", moment) == moment
    assert last_due("0 3 1 * *", moment - timedelta(seconds=1)).month == 12


@pytest.mark.parametrize("cron", ["61 * * * *", "a b c d e", "0 0 31 2 *"])
def test_what_is_no_schedule(cron: str) -> None:
    with pytest.raises(DeclarationError):
        next_due(cron, datetime(2026, 1, 1, tzinfo=UTC))
