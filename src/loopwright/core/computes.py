"""The adapter that a compute URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from loopwright.core.compute_local import LocalCompute
from loopwright.core.compute_ray import RayCompute
from loopwright.core.errors import SettingsError

if TYPE_CHECKING:
    from loopwright.core.compute import Compute


def open_compute(url: str, *, workers: int | None = None) -> Compute:
    """Open what a URL names: ``local://``, ``local://?workers=4``, ``ray://local``, ``ray://host:10001``.

    Args:
        url: The setting ``[compute] url``.
        workers: How many workers, whatever the URL says.

    Raises:
        SettingsError: If the URL cannot be read.
        MissingExtraError: If Ray is not installed.

    >>> open_compute("local://?workers=3").workers
    3
    """
    parts = urlsplit(url)
    options = parse_qs(parts.query, keep_blank_values=True)
    text = options.pop("workers", [None])[-1]
    if options or parts.scheme not in ("local", "ray") or (text is not None and not text.isdigit()):
        raise SettingsError(
            f"[compute] url cannot be {url!r}.", hint="Write local://, local://?workers=4 or ray://host:10001."
        )
    count = int(text) if workers is None and text is not None else workers
    if parts.scheme == "local":
        return LocalCompute(count)
    if not parts.netloc:
        raise SettingsError(f"[compute] url {url!r} names no cluster.", hint="Write ray://host:10001 or ray://local.")
    return RayCompute(parts.netloc, count)
