"""Fills a text template of this package; what is put in stands there as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def fill_text(name: str, values: Mapping[str, object]) -> str:
    """Return a template filled with values; one that it names and that is not given is an error.

    Args:
        name: The file in ``templates``.
        values: What it names.
    """
    import jinja2  # noqa: PLC0415 - for exports only

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loopwright.planning.export", "templates"),
        autoescape=False,  # noqa: S701 - plain text, no HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)
