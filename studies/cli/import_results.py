"""`simkit import`: result files of other tools, as weights and a statement of the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from studies.importers.results import Imported

app = typer.Typer(help="Take result files of other tools; nothing pickled in them is run.", no_args_is_help=True)

ResultFile = Annotated[Path, typer.Argument(metavar="FILE", help="The result file.", show_default=False)]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="For the weights and the truth.")]
Name = Annotated[str | None, typer.Option("--name", help="Of the files in DIR; by default that of FILE.")]


@app.command("backdoorbench")
def import_backdoorbench(file: ResultFile, out: OutFolder, name: Name = None) -> None:
    """Take an attack_result.pt of BackdoorBench."""
    from studies.importers.backdoorbench import read_backdoorbench

    _keep(read_backdoorbench(file), out, name or file.stem)


@app.command("trojanzoo")
def import_trojanzoo(file: ResultFile, out: OutFolder, name: Name = None) -> None:
    """Take a .pth of TrojanZoo; its name may say the target class."""
    from studies.importers.trojanzoo import read_trojanzoo

    _keep(read_trojanzoo(file), out, name or file.stem)


def _keep(found: Imported, out: Path, name: str) -> None:
    from studies.importers.results import write

    weights, truth = write(found, out, name)
    known = found.architecture or f"no architecture that simkit knows ({found.model_name or 'unnamed'})"
    typer.echo(f"{weights}: {len(found.weights)} tensors, {known}, {found.n_classes or 'unknown'} classes")
    target = "unknown" if found.truth.target_class is None else found.truth.target_class
    typer.echo(f"{truth}: backdoored {found.truth.backdoored}, target class {target}")
    if found.architecture is None:
        typer.echo("scan it with your own module: load these weights into it, and give it to studies.scan.run.scan")
    typer.echo("images are often normalised outside such weights: give --mean and --std as the tool had them")
