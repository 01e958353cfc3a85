"""One call of the user's training function: seeded, checked, and ending in a fitted estimator or a clear error."""

from __future__ import annotations

import importlib
import random
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from loopwright.core.error_text import short_text
from loopwright.core.errors import TrainingEmptyError, TrainingOutOfMemoryError, TrainingRaisedError
from loopwright.training.estimators.choice import askable
from loopwright.training.params import Params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.features.examples import TrainingSet

_OWN = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


class _Fittable(Protocol):
    def fit(self, X: object, y: object) -> object: ...  # noqa: N803 - scikit-learn's name


def fit(
    function: Callable[..., object],
    extras: tuple[str, ...],
    train: TrainingSet,
    params: Mapping[str, Any],
    seed: int,
) -> object:
    """Call the training function and return its fitted estimator.

    Args:
        function: The training function.
        extras: Which of ``params`` and ``seed`` it takes.
        train: The examples.
        params: The parameter values.
        seed: Seeds Python's and NumPy's global generators, and PyTorch's where it is loaded.

    Raises:
        TrainingRaisedError: It raised; its traceback is on standard error, the message names the user's line.
        TrainingOutOfMemoryError: It raised ``MemoryError``.
        TrainingEmptyError: It returned nothing that predicts.
    """
    name = getattr(function, "__name__", "the training function")
    set_seeds(seed)
    offered = {"params": Params(params), "seed": seed}
    arguments = {extra: offered[extra] for extra in extras}
    try:
        model = askable(function(train, **arguments), train.X[:2])
        _check(model, name)
        if not is_fitted(model):
            set_seeds(seed)
            fitted = cast("_Fittable", model).fit(train.X, train.y)
            model = fitted if hasattr(fitted, "predict") else model
    except TrainingEmptyError:
        raise
    except MemoryError as error:
        traceback.print_exc()
        raise TrainingOutOfMemoryError(
            f"{name} asked for more memory than there is: {short_text(error, most=500)} ({_where(error)}).",
            hint="Use fewer rows or columns, or raise [training] memory in loopwright.toml.",
        ) from error
    except BaseException as error:
        traceback.print_exception(_users_part(error))
        raise TrainingRaisedError(
            f"{name} raised {type(error).__name__}: {short_text(error, most=500)} ({_where(error)})."
        ) from error
    return model


def set_seeds(seed: int) -> None:
    """Seed the global generators that libraries fall back to."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - scikit-learn's random_state=None reads the legacy generator
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def is_fitted(model: object) -> bool:
    """Say whether an estimator was fitted; what is no scikit-learn estimator is taken as returned.

    Raises nothing: an estimator that cannot tell counts as fitted.
    """
    if not (hasattr(model, "fit") and hasattr(model, "get_params")):
        return True
    try:
        validation = importlib.import_module("sklearn.utils.validation")
    except ImportError:
        return any(name.endswith("_") and not name.startswith("_") for name in vars(model))
    try:
        validation.check_is_fitted(model)
    except importlib.import_module("sklearn.exceptions").NotFittedError:
        return False
    except TypeError:
        return True
    return True


def _check(model: object, name: str) -> None:
    hint = f"Let {name} return a fitted estimator, such as HistGradientBoostingRegressor().fit(train.X, train.y)."
    if model is None:
        raise TrainingEmptyError(f"{name} returned nothing.", hint=hint)
    if isinstance(model, type):
        raise TrainingEmptyError(f"{name} returned the class {model.__name__}, not an estimator made of it.", hint=hint)
    if not callable(getattr(model, "predict", None)):
        raise TrainingEmptyError(f"{name} returned a {type(model).__name__}, which has no predict.", hint=hint)


def _where(error: BaseException) -> str:
    """Name the last line of the user's own code on the way to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((_OWN, *_LIBRARIES, "<frozen"))]
    frame = own[-1] if own else frames[-1]
    return f"{frame.filename}:{frame.lineno}"


def _users_part(error: BaseException) -> BaseException:
    """Drop our own frames from the top of a traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN):
        trace = trace.tb_next
    return error.with_traceback(trace)
