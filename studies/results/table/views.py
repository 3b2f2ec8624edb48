"""A table as one self-contained HTML page in the style of a report, and as text."""

from __future__ import annotations

from importlib.metadata import version

from studies.render import formats
from studies.render.pages import environment
from studies.render.text import filled, joined, notes, section_blocks
from studies.results.table import wording
from studies.results.table.layout import sections
from studies.results.table.records import Table


def page(table: Table) -> str:
    """The page; it holds no date and no random name, so equal records give equal text."""
    return (
        environment()
        .get_template("table.html.j2")
        .render(
            table=table,
            sections=sections(table),
            reading=wording.READING,
            left_out=formats.left_out_words(table.split, table.left_out),
            version=version("b3d-simkit"),
        )
    )


def text(table: Table, width: int) -> str:
    """The whole table as text that is at most `width` columns wide."""
    blocks = [block for section in sections(table) for block in section_blocks(section, width)]
    return joined(
        [*blocks, notes(wording.READING, width), filled(formats.left_out_words(table.split, table.left_out), width)]
    )
