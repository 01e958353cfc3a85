"""Rules for stored objects, as each cloud's object storage takes them, from the storage that the plan chose.

A rule moves only what the plan found worth moving: where it has small objects packed into shards first, single ones are
left alone, because a move is billed by the object. Only raw data are let go by age; tables of the lake, features and
models are known to the product by name, so what goes there goes by `[retention]` and `loopwright gc`.

Sources: the API references of S3 (PutBucketLifecycleConfiguration), Cloud Storage (lifecycle management) and Azure Blob
Storage (management policies).
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from loopwright.planning.export.artefact import Artefact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.planning.export.blueprint import Blueprint, StorageRule

Made = dict[str, object]

PREFIXES: Mapping[str, str] = {
    "raw": "raw/",
    "lake": "loopwright/tables/datasets/",
    "features": "loopwright/tables/features/",
    "models": "loopwright/blobs/",
    "logs": "logs/",
}
"""Where in the bucket each kind lies; blobs are the files of models, and payloads that were packed."""
PACKED = "packed/"
"""Below the prefix of a kind: shards, where it is the shards that move."""
_ABORT_DAYS = 7
_EXPIRED_BY_AGE = ("raw", "logs")
_AZURE_TIERS: Mapping[str, str] = {"Cool": "tierToCool", "Cold": "tierToCold", "Archive": "tierToArchive"}


def lifecycle(blueprint: Blueprint) -> tuple[Artefact, ...]:
    """Return the rules of the plan's cloud; none where it has no object storage."""
    made = {"aws": s3_rules, "gcp": gcs_rules, "azure": azure_rules}.get(blueprint.provider)
    if made is None:
        return ()
    text = json.dumps(made(blueprint.storage), indent=2) + "\n"
    return (Artefact(f"storage/lifecycle-{blueprint.provider}.json", text),)


def prefix_of(rule: StorageRule) -> str:
    """Return where the objects lie that a rule moves."""
    prefix = PREFIXES.get(rule.kind, f"{rule.kind}/")
    return f"{prefix}{PACKED}" if rule.least_bytes and rule.kind in _EXPIRED_BY_AGE else prefix


def expires_after(rule: StorageRule) -> int | None:
    """Return after how many whole days objects go by age; None where nothing does."""
    if rule.kind not in _EXPIRED_BY_AGE or rule.expire_days is None:
        return None
    return max(1, math.ceil(rule.expire_days))


def moves_after(rule: StorageRule) -> int | None:
    """Return after how many whole days objects move; None where they stay, or are gone by then."""
    if not rule.storage_class:
        return None
    days, gone = math.ceil(rule.after_days), expires_after(rule)
    return None if gone is not None and gone <= days else days


def s3_rules(storage: Sequence[StorageRule]) -> Made:
    """Return what PutBucketLifecycleConfiguration takes."""
    found: list[Made] = []
    for rule in storage:
        days, gone = moves_after(rule), expires_after(rule)
        if days is not None:
            chosen: Made = {"Prefix": prefix_of(rule)}
            if rule.least_bytes:
                chosen = {"And": {**chosen, "ObjectSizeGreaterThan": round(rule.least_bytes)}}
            moved = [{"Days": days, "StorageClass": rule.storage_class}]
            found.append({"ID": f"move-{rule.kind}", "Status": "Enabled", "Filter": chosen, "Transitions": moved})
        if gone is not None:
            chosen = {"Prefix": PREFIXES[rule.kind]}
            expired = {"Expiration": {"Days": gone}}
            found.append({"ID": f"expire-{rule.kind}", "Status": "Enabled", "Filter": chosen, **expired})
    aborted = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _ABORT_DAYS}}
    found.append({"ID": "abort-uploads", "Status": "Enabled", "Filter": {"Prefix": ""}, **aborted})
    return {"Rules": found}


def gcs_rules(storage: Sequence[StorageRule]) -> Made:
    """Return what Cloud Storage takes; it knows no bound on the size, so what is packed lies below a prefix."""
    found: list[Made] = []
    for rule in storage:
        days, gone = moves_after(rule), expires_after(rule)
        if days is not None:
            action = {"type": "SetStorageClass", "storageClass": rule.storage_class}
            found.append({"action": action, "condition": {"age": days, "matchesPrefix": [prefix_of(rule)]}})
        if gone is not None:
            condition = {"age": gone, "matchesPrefix": [PREFIXES[rule.kind]]}
            found.append({"action": {"type": "Delete"}, "condition": condition})
    aborted = {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _ABORT_DAYS}}
    return {"rule": [*found, aborted]}


def azure_rules(storage: Sequence[StorageRule]) -> Made:
    """Return what a storage account's management policy takes; its prefixes begin with the container."""
    found: list[Made] = []
    for rule in storage:
        days, gone = moves_after(rule), expires_after(rule)
        if days is not None:
            action = {_AZURE_TIERS[rule.storage_class]: {"daysAfterModificationGreaterThan": days}}
            found.append(_azure_rule(f"move-{rule.kind}", prefix_of(rule), action))
        if gone is not None:
            action = {"delete": {"daysAfterModificationGreaterThan": gone}}
            found.append(_azure_rule(f"expire-{rule.kind}", PREFIXES[rule.kind], action))
    return {"rules": found}


def _azure_rule(name: str, prefix: str, action: Mapping[str, object]) -> Made:
    filters = {"blobTypes": ["blockBlob"], "prefixMatch": [f"lake/{prefix}"]}
    definition = {"filters": filters, "actions": {"baseBlob": action}}
    return {"name": name, "enabled": True, "type": "Lifecycle", "definition": definition}
