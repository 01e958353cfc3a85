"""A tiering plan as the lifecycle rules of S3, Google Cloud Storage and Azure, to be reviewed and applied by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.data.versions.tiering import GroupPlan, TieringPlan

_LEAST_BYTES = 1_000_000  # smaller objects under the same prefix, such as a table's log, stay where they are


def lifecycle_rules(plan: TieringPlan, *, root: str = "") -> str:
    """Write the rules of every group that the plan would move, as JSON; ``root`` is the store's prefix in its bucket.

    Rules go by age and prefix, and cannot know which files the newest version of a table has; so only what lies
    apart from tables is in them: packed payloads, models, the trash. Old files of tables are for ``loopwright gc``.
    """
    moved = [one for one in plan.groups if one.best is not None and not one.prefix.startswith("tables/")]
    days = round(plan.cold_after_days)
    base = f"{root.strip('/')}/" if root.strip("/") else ""
    write = {"aws": _s3, "gcp": _gcs, "azure": _azure}[plan.provider]
    seen: dict[str, GroupPlan] = {}
    for one in moved:
        seen.setdefault(base + one.prefix.split(" ")[0], one)
    return json.dumps(write(seen, days), indent=2)


def _s3(groups: dict[str, GroupPlan], days: int) -> dict[str, object]:
    return {
        "Rules": [
            {
                "ID": f"loopwright-{prefix.strip('/').replace('/', '-')}",
                "Status": "Enabled",
                "Filter": {"And": {"Prefix": prefix, "ObjectSizeGreaterThan": _LEAST_BYTES}},
                "Transitions": [{"Days": days, "StorageClass": _class(one)}],
            }
            for prefix, one in groups.items()
        ]
    }


def _gcs(groups: dict[str, GroupPlan], days: int) -> dict[str, object]:
    return {
        "rule": [
            {
                "action": {"type": "SetStorageClass", "storageClass": _class(one)},
                "condition": {"age": days, "matchesPrefix": [prefix]},
            }
            for prefix, one in groups.items()
        ]
    }


def _azure(groups: dict[str, GroupPlan], days: int) -> dict[str, object]:
    return {
        "rules": [
            {
                "enabled": True,
                "name": f"loopwright{''.join(part.title() for part in prefix.strip('/').split('/'))}",
                "type": "Lifecycle",
                "definition": {
                    "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [prefix]},
                    "actions": {"baseBlob": {f"tierTo{_class(one)}": {"daysAfterModificationGreaterThan": days}}},
                },
            }
            for prefix, one in groups.items()
        ]
    }


def _class(group: GroupPlan) -> str:
    return "" if group.best is None else group.best.storage_class
