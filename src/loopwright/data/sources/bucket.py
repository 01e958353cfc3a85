"""Files in an object store (S3, Google Cloud Storage, Azure) or on a web server: listed, and brought here.

Credentials, region and endpoint come from the environment, as each cloud's own tools read them (``AWS_…``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_…``); obstore reads them. A request is repeated twice, then it is
one clear error.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=60)}
_AT_ONCE = 8  # fetches
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SKIP_SIGNATURE=true for a public bucket)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (the path of a service account's file)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_CLOUD = {"s3a": "s3", "azure": "az", "abfs": "az", "abfss": "az", "adl": "az"}


class Buckets:
    """The object stores of one plan, each opened once.

    >>> split_url("s3://bucket/a/b.csv")
    ('s3://bucket', 'a/b.csv')
    """

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def list(self, base: str, prefix: str) -> Iterator[tuple[str, int, int]]:
        """Give path, size and stamp of every object below a folder, or of the one object of this path.

        Raises:
            SourceError: If the store cannot be listed.
        """
        with _translated(base):
            store = self._store(base)
            if base.startswith("http"):
                entry = store.head(prefix)
                yield entry["path"], entry["size"], stamp_of(entry)
                return
            if prefix and not prefix.endswith("/"):
                with suppress(FileNotFoundError):  # then it is a folder, or nothing
                    entry = store.head(prefix)
                    yield entry["path"], entry["size"], stamp_of(entry)
                    return
            for page in store.list(prefix=prefix.rstrip("/") or None):
                for entry in page:
                    yield entry["path"], entry["size"], stamp_of(entry)

    def fetch(self, url: str, folder: Path) -> Path:
        """Bring an object into a folder and return its path there; what is there already is not fetched again.

        Raises:
            SourceError: If it cannot be fetched.
        """
        base, inside = split_url(url)
        name = hashlib.sha256(url.encode()).hexdigest()[:16] + "-" + inside.rsplit("/", 1)[-1]
        path = folder / name
        if path.exists():
            return path
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{name}")
        with _translated(base, url):
            with part.open("wb") as file:
                for chunk in self._store(base).get(inside):
                    file.write(chunk)
            part.replace(path)
        return path

    def fetch_all(self, urls: Sequence[str], folder: Path) -> None:
        """Bring many objects at once."""
        for base in {split_url(url)[0] for url in urls}:
            with _translated(base):
                self._store(base)  # opened here, so that the threads find it
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda url: self.fetch(url, folder), urls):
                pass

    def _store(self, base: str) -> Any:  # noqa: ANN401 - one class per cloud
        from obstore.store import from_url  # noqa: PLC0415 - local files do without it

        if base not in self._opened:
            options: dict[str, Any] = {} if base.startswith("file:") else {"retry_config": _RETRY}
            if base.startswith("http://"):
                options["client_options"] = {"allow_http": True}
            self._opened[base] = from_url(base + "/" if base.endswith("//") else base, **options)
        return self._opened[base]


def split_url(url: str) -> tuple[str, str]:
    """Split a URL into the store (scheme and bucket) and the path inside it.

    >>> split_url("s3://bucket/a/*.csv")
    ('s3://bucket', 'a/*.csv')
    """
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", path


def stamp_of(entry: Any) -> int:  # noqa: ANN401 - obstore's ObjectMeta
    """Return an object's time in nanoseconds; below the second, a fingerprint of its ETag.

    Stores tell times to the second, so that an object written twice within one, at the same size, is told apart only
    by its ETag.
    """
    seconds = int(entry["last_modified"].timestamp())
    tag = entry.get("e_tag") or ""
    return seconds * 1_000_000_000 + int(hashlib.sha256(tag.encode()).hexdigest()[:8], 16) % 1_000_000_000


@contextmanager
def _translated(base: str, url: str | None = None) -> Iterator[None]:
    """Turn what an object store says into one clear error."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - local files do without it

    try:
        yield
    except FileNotFoundError as error:
        if url is None:
            raise SourceError(f"There is nothing at {base}.", hint="Correct the URL in the project.") from error
        raise SourceError(f"{url} was listed and is gone.", hint="Run again.") from error
    except BaseError as error:
        raise _explained(base, url or base, str(error)) from error


def _explained(base: str, what: str, text: str) -> SourceError:
    scheme = base.partition("://")[0]
    cloud = _CLOUD.get(scheme, scheme)
    keys = _KEYS.get(cloud)
    first = re.sub(r"^Generic \w+ error: ", "", text.split("\n", 1)[0])[:300].strip()
    if (
        "NoSuchBucket" in text
        or "ContainerNotFound" in text
        or ("status code: 404" in first and "list request" in first)
    ):
        return SourceError(
            f"There is no bucket {base}.", hint="Correct the URL, or the region and endpoint in the environment."
        )
    if "Account must be specified" in text:
        return SourceError(
            f"{what} does not say which Azure account.",
            hint="Set AZURE_STORAGE_ACCOUNT_NAME, or write abfs://container@account.dfs.core.windows.net/path.",
        )
    if keys and (
        "/latest/" in first or "computeMetadata" in text or "metadata/identity" in text or "redential" in text
    ):
        return SourceError(f"There are no credentials for {base}: {first}.", hint=f"Set {keys}.")
    refusals = ("status code: 403", "status code: 401", "necessary privileges", "Unauthenticated")
    if any(sign in first for sign in refusals):  # bare numbers also occur in times and ports
        return SourceError(
            f"{what} refuses these credentials: {first}.",
            hint=f"Give them the right to list and read, or set others: {keys}." if keys else "Check the address.",
        )
    if "builder error" in text and cloud == "s3":
        return SourceError(
            f"{what} is reached by http:// and that is not allowed.", hint="Set AWS_ALLOW_HTTP=true if it is meant."
        )
    if "region" in first:
        return SourceError(f"{what} lies in another region: {first}.", hint="Set AWS_REGION.")
    return SourceError(f"{what} cannot be read: {first}.", hint="Check the network and the endpoint, then run again.")
