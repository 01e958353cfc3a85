"""What a machine runs when it starts, by cloud: how it gets Docker, and how it reads a secret with its own identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Start:
    """The parts of a start script that differ by cloud; ``${…}`` is filled in by Terraform.

    Attributes:
        install: Makes Docker ready, also for an image in the cloud's own registry.
        secret: The body of a function that prints the secret named by its first argument.
    """

    install: str
    secret: str


_AWS = Start(
    """command -v docker >/dev/null || dnf install --assumeyes docker
systemctl enable --now docker
case '${image}' in *.dkr.ecr.*)
  aws ecr get-login-password --region '${region}' |
    docker login --username AWS --password-stdin "$(echo '${image}' | cut --delimiter / --fields 1)" ;;
esac""",
    """  aws ssm get-parameter --region '${region}' --with-decryption --name "$1" \\
    --query Parameter.Value --output text""",
)
_GCP = Start(
    """export HOME=/var/lib/loopwright
mkdir --parents "$HOME"
case '${image}' in *-docker.pkg.dev/*)
  docker-credential-gcr configure-docker --registries "$(echo '${image}' | cut --delimiter / --fields 1)" ;;
esac""",
    """  docker run --rm --network host google/cloud-sdk:slim gcloud secrets versions access latest --secret "$1\"""",
)
_AZURE = Start(
    """if ! command -v docker >/dev/null || ! command -v jq >/dev/null; then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --assume-yes docker.io curl jq
fi""",
    """  local token
  token=$(curl --silent --fail --header Metadata:true --get 'http://169.254.169.254/metadata/identity/oauth2/token' \\
    --data-urlencode api-version=2018-02-01 --data-urlencode resource=https://vault.azure.net |
    jq --raw-output .access_token)
  curl --silent --fail --header "Authorization: Bearer $token" \\
    "https://${vault}.vault.azure.net/secrets/$1?api-version=7.4" | jq --raw-output .value""",
)
STARTS: Mapping[str, Start] = {"aws": _AWS, "gcp": _GCP, "azure": _AZURE}
