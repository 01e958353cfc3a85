from __future__ import annotations

import pytest

from loopwright.core.errors import RefusedError, UsageError
from loopwright.loop.exit_code import exit_code_of


def test_work_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: "anything") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [UsageError("wrong", hint="Do it right."), RefusedError("no")])
def test_an_error_of_ours_is_shown_with_its_code(
    error: UsageError | RefusedError, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert exit_code_of(fail) == error.exit_code
    assert capsys.readouterr() == ("", f"Error: {error}\n")


def test_what_is_not_ours_is_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code_of(lambda: 1 / 0)
