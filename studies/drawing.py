"""A figure that is shown on a page and kept in files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure in all its forms. name: of its files. alt: what it shows, in words. csv: what is drawn."""

    name: str
    title: str
    alt: str
    svg: bytes
    png: bytes
    csv: str
