import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.training.params import Params

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_params_are_the_mapping_they_were_made_of(values: dict[str, object]) -> None:
    params = Params(values)
    assert dict(params) == values == params.to_json()
    assert dict(**params) == values
    assert pickle.loads(pickle.dumps(params)) == params  # noqa: S301 - our own bytes
    assert hash(params) == hash(Params(params))
    for name, value in values.items():
        assert params[name] == value


def test_params_are_immutable_and_say_so() -> None:
    params = Params(depth=3)
    with pytest.raises(AttributeError, match="immutable"):
        params.depth = 4
    with pytest.raises(AttributeError, match="immutable"):
        del params.depth
    assert params.replace(depth=4).depth == 4
    assert params.depth == 3


def test_a_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(AttributeError, match="did you mean 'learning_rate'"):
        _ = Params(learning_rate=0.1).learning_rat


def test_numpy_numbers_become_plain() -> None:
    params = Params(a=np.float64(0.5), b=np.int32(2), c=(1, 2))
    assert params.to_json() == {"a": 0.5, "b": 2, "c": [1, 2]}
    assert type(params.a) is float


@pytest.mark.parametrize("values", [{"a b": 1}, {"a": object()}, {"a": {1, 2}}, {1: 2}])
def test_what_cannot_be_recorded_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(DeclarationError):
        Params(values)
