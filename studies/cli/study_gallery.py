"""`simkit study gallery`: original and reversed triggers of whole zoos, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from studies.report.gallery.gather import ShownZoo

ZooFolders = Annotated[list[Path], typer.Argument(metavar="ZOO...", help="Folders of zoos.", show_default=False)]
Ledgers = Annotated[
    list[Path],
    typer.Option("--ledgers", metavar="DIR", help="A folder of the scans' ledgers; may be given again."),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="DATA", help="The images of a zoo, one for each ZOO in turn; else its manifest's."),
]
OutFile = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The page; a picture FILE-ZOO.png of each zoo goes beside it.")
]
Each = Annotated[int, typer.Option("--each", metavar="K", min=1, help="Victims of each size or attack, by index.")]
Detectors = Annotated[
    list[str] | None, typer.Option("--detector", metavar="NAME", help="Only its scans; may be given again.")
]


def write_gallery(
    zoos: ZooFolders,
    ledgers: Ledgers,
    out: OutFile = Path("gallery.html"),
    data: Data = None,
    each: Each = 3,
    detectors: Detectors = None,
) -> None:
    """Write one HTML page, and a PNG of each zoo: original triggers, and beside them what scans reversed.

    Shown are the first K victims of each size or attack, and of each detector behind each service the newest finished
    scan. Reads manifests, ledgers and test images, never a model.
    """
    from simkit.errors import ConfigError
    from simkit.files import write_atomically
    from studies.render.destinations import checked_page
    from studies.report.gallery.gather import GalleryConfig, ZooSource, gather_gallery
    from studies.report.gallery.picture import draw_zoo
    from studies.report.page import render_gallery

    if data and len(data) != len(zoos):
        raise ConfigError(f"--data is given {len(data)} times for {len(zoos)} zoos; give one for each, or none")
    page = checked_page(out)
    named: Sequence[str | None] = data or [None] * len(zoos)
    sources = [ZooSource(zoo, of) for zoo, of in zip(zoos, named, strict=True)]
    shown = gather_gallery(sources, ledgers, GalleryConfig(each, tuple(detectors or ())))
    _check_found(shown, detectors or [])
    write_atomically(page, render_gallery(shown, each).encode())
    typer.echo(f"{page}: {sum(len(stratum.shown) for zoo in shown for stratum in zoo.strata)} victims")
    for number, zoo in enumerate(shown):
        twice = [other.name for other in shown].count(zoo.name) > 1
        picture = page.with_name(f"{page.stem}-{zoo.name}{f'-{number + 1}' if twice else ''}.png")
        if zoo.strata:
            typer.echo(f"{picture}: {draw_zoo(picture, zoo) or 'no scans'}")


def _check_found(shown: Sequence[ShownZoo], wanted: Sequence[str]) -> None:
    """Raise ConfigError where a detector was named that no victim shown was scanned by."""
    from simkit.errors import ConfigError

    victims = [victim for zoo in shown for stratum in zoo.strata for victim in stratum.shown]
    told = {found.detector.partition(", ")[0] for v in victims for one in v.backdoors for found in one.found}
    if unknown := [name for name in wanted if name not in told]:
        raise ConfigError(f"--detector {unknown[0]}: these ledgers have no finished scan by it of a victim shown here")
