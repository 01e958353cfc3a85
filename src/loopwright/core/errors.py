"""Every error Loopwright raises on purpose, in one tree.

::

    LoopwrightError
    ├── UsageError                    the project or the call is wrong                        exit code 2
    │   ├── DeclarationError          a declaration that contradicts itself
    │   │   ├── ContractError         a contract that cannot be checked
    │   │   └── FeatureError          a feature, label or split that breaks its rules
    │   ├── SettingsError             loopwright.toml or a LOOPWRIGHT_ variable
    │   ├── UnknownNameError          no such dataset, model, metric, version …
    │   │   └── CollectedError        it was there, and a garbage collection took it
    │   └── MissingExtraError         an optional package is not installed
    ├── RefusedError                  everything works, and the answer is no                  exit code 3
    │   ├── GateRefusedError          no passing verdict
    │   ├── AliasConflictError        somebody else moved the alias first
    │   ├── ExchangeTakenError        another process answers this stream's events
    │   ├── UntrustedError            code or a pickle from elsewhere
    │   ├── BudgetSpentError          the holdout, the retrain or the spend budget is used up
    │   └── AccessDeniedError         no token, or one whose role does not include it
    ├── FailedError                   something broke while it ran                            exit code 1
    │   ├── SourceError               data that cannot be read
    │   ├── IngestStoppedError        a contract with on_failure="stop"
    │   ├── TrainingError
    │   │   ├── TrainingRaisedError
    │   │   ├── TrainingOutOfMemoryError
    │   │   ├── TrainingTimedOutError
    │   │   └── TrainingEmptyError    nothing that predicts came back
    │   ├── StoreError
    │   │   ├── StoreBusyError
    │   │   ├── StoreFullError
    │   │   ├── StoreTooNewError      written by a newer version
    │   │   └── StoreCorruptError     content does not match its digest
    │   └── TurnInProgressError       another process is turning this loop
    └── RequestError                  an answer to a client of the server, with its HTTP status
        ├── InvalidRequestError       400
        ├── UnauthorizedRequestError  401
        ├── ForbiddenRequestError     403
        ├── NotFoundRequestError      404
        ├── WrongMethodError          405
        ├── TooLargeError             413
        ├── UnsupportedMediaError     415
        ├── OverloadedError           429
        ├── ModelFailedError          500
        ├── NotReadyError             503
        └── DeadlineError             504

A message states the broken rule and the values; ``hint`` is the next step. The command line prints both, without a
traceback, and ends with the class's ``exit_code``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class LoopwrightError(Exception):
    """The root of the tree.

    >>> error = LoopwrightError("The store is read-only.", hint="Open it with write access.")
    >>> print(error)
    The store is read-only. Open it with write access.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class UsageError(LoopwrightError):
    """The project or the call is wrong; changing it helps, trying again does not."""

    exit_code = 2


class DeclarationError(UsageError):
    """A declaration in the project contradicts itself or another one."""


class ContractError(DeclarationError):
    """A contract that cannot be checked, such as one on an unknown column."""


class FeatureError(DeclarationError):
    """A feature view, transform, label or split that breaks its rules."""


class SettingsError(UsageError):
    """A value in ``loopwright.toml`` or in a ``LOOPWRIGHT_`` variable that cannot be used."""


class UnknownNameError(UsageError):
    """Nothing of this kind has this name.

    >>> print(UnknownNameError("metric", "rmsee", ["mae", "rmse"]))
    There is no metric 'rmsee'. Did you mean 'rmse'? Known: mae, rmse.
    >>> print(UnknownNameError("column", "prise", ["price"], where="in 'orders'"))
    There is no column 'prise' in 'orders'. Did you mean 'price'? Known: price.

    Args:
        kind: What was looked for.
        name: The name that nothing has.
        known: The names there are; None where nobody can list them.
        where: Where it was looked for.
        hint: The next step where there is no name to choose from.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str] | None = None, *, where: str = "", hint: str | None = None
    ) -> None:
        names = sorted(known or ())
        close = difflib.get_close_matches(name, names, n=1)
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        if names:
            hint = (f"Did you mean '{close[0]}'? " if close else "") + f"Known: {shown}."
        elif hint is None and known is not None:
            hint = "There are none yet."
        super().__init__(f"There is no {kind} '{name}'{' ' if where else ''}{where}.", hint=hint)
        self.kind = kind
        self.name = name


class CollectedError(UnknownNameError):
    """What is asked for was there, and a garbage collection took it."""

    def __init__(self, kind: str, name: str, message: str, *, hint: str) -> None:
        LoopwrightError.__init__(self, message, hint=hint)
        self.kind = kind
        self.name = name


class MissingExtraError(UsageError):
    """An optional package is needed and not installed.

    >>> print(MissingExtraError("apprise", extra="alerts"))
    The package 'apprise' is not installed. Run: pip install "loopwright[alerts]"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"The package '{package}' is not installed.", hint=f'Run: pip install "loopwright[{extra}]"')
        self.package = package
        self.extra = extra


class RefusedError(LoopwrightError):
    """Everything works, and the answer is no."""

    exit_code = 3


class GateRefusedError(RefusedError):
    """A move that only a passing verdict, or a named override, allows."""


class AliasConflictError(RefusedError):
    """The alias no longer points where the caller expected."""


class ExchangeTakenError(RefusedError):
    """Another process answers the events of this stream; this one has written nothing since."""


class UntrustedError(RefusedError):
    """Code or a pickle that this workspace did not make and nobody vouched for."""


class BudgetSpentError(RefusedError):
    """A budget (holdout answers, retrains, money) is used up."""


class AccessDeniedError(RefusedError):
    """No token was given where one is needed, or its role does not include what is asked."""


class FailedError(LoopwrightError):
    """Something broke while it ran; what was finished before is kept."""


class SourceError(FailedError):
    """A data source that is missing or cannot be read."""


class IngestStoppedError(FailedError):
    """Rows broke a check whose ``on_failure`` is ``"stop"``."""


class TrainingError(FailedError):
    """A training that did not end in a model."""


class TrainingRaisedError(TrainingError):
    """The training function raised."""


class TrainingOutOfMemoryError(TrainingError):
    """The training went over its memory bound."""


class TrainingTimedOutError(TrainingError):
    """The training went over its time bound."""


class TrainingEmptyError(TrainingError):
    """The training function returned nothing that predicts."""


class StoreError(FailedError):
    """A store could not do what was asked."""


class StoreBusyError(StoreError):
    """A store stayed locked longer than its patience."""


class StoreFullError(StoreError):
    """There is no space left where a store lives."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version of Loopwright."""


class StoreCorruptError(StoreError):
    """What a store holds does not match its digest."""


class TurnInProgressError(FailedError):
    """Another process is turning this loop."""


class RequestError(LoopwrightError):
    """An answer to a client of the server that is not a prediction."""

    status: ClassVar[int] = 500


class InvalidRequestError(RequestError):
    """The request breaks the model's signature or the protocol.

    Attributes:
        field: Name of the field that is wrong, or None.
        row: 0-based number of its row, or None.
    """

    exit_code = 2
    status = 400

    def __init__(
        self, message: str, *, field: str | None = None, row: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.row = row


class UnauthorizedRequestError(RequestError):
    """The request lacks a valid token."""

    status = 401


class ForbiddenRequestError(RequestError):
    """The token's role does not include what is asked."""

    status = 403


class NotFoundRequestError(RequestError):
    """No such model, version or route."""

    status = 404


class WrongMethodError(RequestError):
    """The route exists and takes other methods: ``allowed``."""

    status = 405

    def __init__(self, message: str, *, allowed: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.allowed = allowed


class TooLargeError(RequestError):
    """The body or the number of rows is over the server's bound."""

    status = 413


class UnsupportedMediaError(RequestError):
    """The body is of a type, or packed in a way, that this route does not read."""

    status = 415


class OverloadedError(RequestError):
    """The bounded queue is full; ``retry_after_s`` says when to try again.

    Attributes:
        retry_after_s: Seconds after which it is expected to have room.
        queue_rows: Rows that waited, or None where it was not about rows.
    """

    status = 429

    def __init__(
        self, message: str, *, retry_after_s: float, queue_rows: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
        self.queue_rows = queue_rows


class ModelFailedError(RequestError):
    """The model raised while it computed an answer."""

    status = 500


class NotReadyError(RequestError):
    """No model is loaded yet, or the server is draining.

    Attributes:
        retry_after_s: Seconds after which it is expected to be ready, or None where that is not known.
    """

    status = 503

    def __init__(self, message: str, *, retry_after_s: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineError(RequestError):
    """The answer would have come after the caller's deadline."""

    status = 504
