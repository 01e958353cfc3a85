"""What a project decides about its HTTP door."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loopwright.core.errors import SettingsError

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")


@dataclass(frozen=True)
class HttpOptions:
    """How the HTTP door behaves.

    Attributes:
        docs: Whether ``/openapi.json`` and the page at ``/docs`` are answered.
        error_detail: Whether errors name fields, allowed values and models; otherwise they say their kind and the
            request's id, and the log says the rest.
        cors_origins: Origins whose pages may ask, such as ``https://app.example.com``; none by default.

    Raises:
        SettingsError: When an origin is none; ``*`` is not one.
    """

    docs: bool = True
    error_detail: bool = True
    cors_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"[serving] cors_origins holds {origin!r}, which is no origin.",
                    hint="Write scheme, host and port only, in lower case, such as https://app.example.com.",
                )
