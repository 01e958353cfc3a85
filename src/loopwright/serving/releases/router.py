"""Which version answers a request: a pure function of the routing in force and the request's unit key.

Assignment is a salted hash and nothing is remembered, so that it is sticky over processes and restarts, can be
recomputed from the log, and ramps are monotone: a unit in the canary at 5 % is in it at 25 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias

import msgspec

from loopwright.core.errors import NotFoundRequestError

Arm: TypeAlias = Literal["champion", "challenger"]
Route: TypeAlias = Literal["champion", "canary", "pinned", "shadow"]
RolloutStage: TypeAlias = Literal["none", "shadow", "canary"]

_HASH_BITS = 64


class Assignment(msgspec.Struct, frozen=True):
    """Say who answers and how likely that was.

    Attributes:
        arm: The version that answers.
        route: What the log calls it.
        propensity: The probability with which a unit gets this arm, for estimates from the log later.
        unit_hash: The unit's place in [0, 2^63), salted.
        mirrored: True where the challenger gets a copy as well (shadow).
    """

    arm: Arm
    route: Route
    propensity: float
    unit_hash: int
    mirrored: bool = False


@dataclass(frozen=True)
class Routing:
    """Say how traffic of one model is split at present.

    Attributes:
        champion: Version number that answers by default.
        challenger: Version number on trial, or None.
        stage: What the challenger gets: nothing, copies, or a share of the traffic.
        share: The challenger's share in a canary, in [0, 1].
        salt: Makes one release's split independent of another's; the release's id.
        experiment: The release and step that records of this traffic belong to, or None.
    """

    champion: int
    challenger: int | None = None
    stage: RolloutStage = "none"
    share: float = 0.0
    salt: str = ""
    experiment: str | None = None

    def assign(self, unit: str, *, pinned: int | None = None) -> Assignment:
        """Choose who answers the request of ``unit``.

        Args:
            unit: The key that sticks: the caller's, a row's, or the request's id.
            pinned: A version number asked for by the caller, or None.

        Raises:
            NotFoundRequestError: When the pinned version is neither the champion nor on trial.

        >>> Routing(champion=1).assign("courier-7").route
        'champion'
        """
        place = unit_hash(self.salt, unit)
        if pinned is not None:
            return Assignment(self._pinned(pinned), "pinned", 1.0, place)
        if self.stage == "canary" and self.challenger is not None:
            if place < int(self.share * (1 << (_HASH_BITS - 1))):
                return Assignment("challenger", "canary", self.share, place)
            return Assignment("champion", "champion", 1.0 - self.share, place)
        mirrored = self.stage == "shadow" and self.challenger is not None
        return Assignment("champion", "champion", 1.0, place, mirrored)

    def _pinned(self, version: int) -> Arm:
        if version == self.champion:
            return "champion"
        if version == self.challenger:
            return "challenger"
        known = [self.champion] + ([self.challenger] if self.challenger is not None else [])
        raise NotFoundRequestError(
            f"Version {version} is not being served.", hint=f"Served now: {', '.join(str(number) for number in known)}."
        )


def unit_hash(salt: str, unit: str) -> int:
    """Place ``unit`` in [0, 2^63): the first 63 bits of BLAKE2b over salt and unit.

    >>> unit_hash("release", "courier-7") == unit_hash("release", "courier-7")
    True
    """
    digest = blake2b(f"{salt}|{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
