"""What a notebook shows of an object: a fragment of HTML, with everything escaped that users have named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studies.render.grids import Grid


@dataclass(frozen=True)
class Picture:
    """A small picture with its caption. uri: `data:image/png;base64,...`. alt: what it shows, in words."""

    uri: str
    alt: str
    caption: str


def fragment(
    title: str, lines: Sequence[str] = (), pictures: Sequence[Picture] = (), grids: Sequence[Grid] = ()
) -> str:
    """A heading, a paragraph a line, pictures beside each other, and tables. Equal values give equal text."""
    from studies.render.pages import environment  # jinja2 is slow to import

    template = environment().get_template("notebook.html.j2")
    return template.render(title=title, lines=lines, pictures=pictures, grids=grids)
