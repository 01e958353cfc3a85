import re

from loopwright.core import errors


def test_the_drawn_tree_is_the_tree() -> None:
    drawn: list[tuple[str, str | None]] = []
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([ │├└─]*)(\w+Error)\b", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        while parents and parents[-1][0] >= depth:
            parents.pop()
        drawn.append((name, parents[-1][1] if parents else None))
        parents.append((depth, name))
    real = {
        (name, value.__mro__[1].__name__ if value is not errors.LoopwrightError else None)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.LoopwrightError)
    }
    assert set(drawn) == real


def test_a_close_name_is_proposed() -> None:
    error = errors.UnknownNameError("metric", "acuracy", ["accuracy", "mae"])
    assert "Did you mean 'accuracy'?" in str(error)
    assert errors.UnknownNameError("model", "x", []).hint == "There are none yet."
    assert errors.UnknownNameError("model", "x").hint is None, "nobody said what there is"
    assert errors.UnknownNameError("model", "x", [], hint="Train one.").hint == "Train one."


def test_exit_codes_differ() -> None:
    assert (errors.UsageError.exit_code, errors.RefusedError.exit_code, errors.FailedError.exit_code) == (2, 3, 1)
