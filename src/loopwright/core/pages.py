"""Fills an HTML template that lies in a package; what is put in is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def fill(package: str, template: str, values: Mapping[str, object]) -> str:
    """Return a template of the folder ``templates`` in a package, filled with values.

    Args:
        package: Where the folder is, such as ``loopwright.data.quality``.
        template: The file's name.
        values: What the template names.
    """
    import jinja2  # noqa: PLC0415 - for pages only

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
