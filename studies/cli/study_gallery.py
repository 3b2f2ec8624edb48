"""`simkit study gallery`: write a page with the original and reversed triggers of whole zoos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import echo

if TYPE_CHECKING:
    from studies.report.gallery.gather import ShownZoo

ZooFolders = Annotated[list[Path], typer.Argument(metavar="ZOO...", help="Folders of zoos.", show_default=False)]
Ledgers = Annotated[
    list[Path],
    typer.Option("--ledgers", metavar="DIR", help="A folder with the scans' ledgers; may be repeated."),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="DATA", help="The images of a zoo, once per ZOO in order; by default its manifest's."
    ),
]
OutFile = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The page; a picture of each zoo is written beside it.")
]
Each = Annotated[int, typer.Option("--each", metavar="K", min=1, help="Number of victims per trigger size or attack.")]
Detectors = Annotated[
    list[str] | None, typer.Option("--detector", metavar="NAME", help="Show only its scans; may be repeated.")
]


def write_gallery(
    zoos: ZooFolders,
    ledgers: Ledgers,
    out: OutFile = Path("gallery.html"),
    data: Data = None,
    each: Each = 3,
    detectors: Detectors = None,
) -> None:
    """Write one HTML page, and one PNG per zoo, with original triggers beside those that scans reversed.

    Shows the first K victims of each trigger size or attack, and the newest finished scan of each detector and service.
    Reads manifests, ledgers and test images, but no model.
    """
    from simkit.errors import ConfigError
    from simkit.files import write_atomically
    from studies.render.destinations import checked_page
    from studies.report.gallery.gather import GalleryConfig, ZooSource, gather_gallery
    from studies.report.gallery.picture import draw_zoo
    from studies.report.page import render_gallery

    if data and len(data) != len(zoos):
        raise ConfigError(
            f"--data is given {len(data)} times for {len(zoos)} zoos; give it once per zoo, or not at all"
        )
    page = checked_page(out)
    named: Sequence[str | None] = data or [None] * len(zoos)
    sources = [ZooSource(zoo, of) for zoo, of in zip(zoos, named, strict=True)]
    shown = gather_gallery(sources, ledgers, GalleryConfig(each, tuple(detectors or ())))
    _check_found(shown, detectors or [])
    write_atomically(page, render_gallery(shown, each).encode())
    echo(f"{page}: {sum(len(stratum.shown) for zoo in shown for stratum in zoo.strata)} victims")
    for zoo in shown:
        if zoo.own:
            echo(f"{zoo.name}: {zoo.own} with an attack of somebody's own, whose code is not run: not shown")
    for number, zoo in enumerate(shown):
        twice = [other.name for other in shown].count(zoo.name) > 1
        picture = page.with_name(f"{page.stem}-{zoo.name}{f'-{number + 1}' if twice else ''}.png")
        if zoo.strata:
            echo(f"{picture}: {draw_zoo(picture, zoo) or 'no scans'}")


def _check_found(shown: Sequence[ShownZoo], wanted: Sequence[str]) -> None:
    """Raise ConfigError for a named detector that has scanned none of the shown victims."""
    from simkit.errors import ConfigError

    victims = [victim for zoo in shown for stratum in zoo.strata for victim in stratum.shown]
    backdoors = [backdoor for victim in victims for backdoor in victim.backdoors]
    detectors = {scan.detector.partition(", ")[0] for backdoor in backdoors for scan in backdoor.found}
    if unknown := [name for name in wanted if name not in detectors]:
        raise ConfigError(f"--detector {unknown[0]}: these ledgers hold no finished scan by it of a shown victim")
