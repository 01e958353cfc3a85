"""The image of a project: built in one stage, run in another, by a user without rights, on one version of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.version import __version__
from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.environment import GRPC_PORT, HOME, HTTP_PORT, PROJECT, USER_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE_IMAGE = "python:3.11-slim"
HEALTH = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/livez', timeout=2)"
"""A probe without further tools; the slim image has no curl."""


def dockerfile(extras: Sequence[str]) -> Artefact:
    """Return the definition of the image.

    Args:
        extras: Of the package, such as ``postgres``.
    """
    package = f"loopwright[{','.join(extras)}]=={__version__}" if extras else f"loopwright=={__version__}"
    text = f"""# Build it in the project's folder: docker build -f FOLDER/Dockerfile -t IMAGE .
# Wheels of your own go into wheels/ and further packages into requirements.txt; both may be absent.
FROM {BASE_IMAGE} AS build
ARG LOOPWRIGHT="{package}"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /build
COPY loop.py requirements*.txt wheels* ./
RUN /opt/venv/bin/pip install --find-links . "$LOOPWRIGHT" \\
 && if [ -f requirements.txt ]; then /opt/venv/bin/pip install --find-links . -r requirements.txt; fi

FROM {BASE_IMAGE}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
RUN groupadd --gid {USER_ID} loopwright \\
 && useradd --uid {USER_ID} --gid {USER_ID} --no-create-home --shell /usr/sbin/nologin loopwright \\
 && mkdir -p {HOME} \\
 && chown {USER_ID}:{USER_ID} {HOME}
COPY --from=build /opt/venv /opt/venv
COPY . {PROJECT}
WORKDIR {PROJECT}
USER {USER_ID}:{USER_ID}
VOLUME {HOME}
EXPOSE {HTTP_PORT} {GRPC_PORT}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", "{HEALTH.format(port=HTTP_PORT)}"]
ENTRYPOINT ["loopwright"]
CMD ["up"]
"""
    return Artefact("Dockerfile", text)


def dockerignore() -> Artefact:
    """Return what is left out of the image: state, secrets, and what is made anew."""
    lines = [".loopwright", ".git", ".venv", "**/__pycache__", "*.pyc", ".env", "*.pem", "*.key", "Dockerfile", "*.md"]
    return Artefact("Dockerfile.dockerignore", "\n".join(lines) + "\n")
