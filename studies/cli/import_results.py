"""`simkit import`: convert result files of other tools into weights and a file with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.help import Commands
from studies.cli.output import echo

if TYPE_CHECKING:
    from studies.importers.results import Imported

app = typer.Typer(
    cls=Commands, help="Import result files of other tools; nothing pickled in them is run.", no_args_is_help=True
)

ResultFile = Annotated[Path, typer.Argument(metavar="FILE", help="The result file.", show_default=False)]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the weights and the truth.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the files in DIR; by default that of FILE.")]


@app.command("backdoorbench")
def import_backdoorbench(file: ResultFile, out: OutFolder, name: Name = None) -> None:
    """Import an attack_result.pt of BackdoorBench."""
    from studies.importers.backdoorbench import read_backdoorbench

    _keep(read_backdoorbench(file), out, name or file.stem)


@app.command("trojanzoo")
def import_trojanzoo(file: ResultFile, out: OutFolder, name: Name = None) -> None:
    """Import a .pth of TrojanZoo, whose file name may state the target class."""
    from studies.importers.trojanzoo import read_trojanzoo

    _keep(read_trojanzoo(file), out, name or file.stem)


def _keep(imported: Imported, out: Path, name: str) -> None:
    from studies.importers.results import write

    weights, truth = write(imported, out, name)
    architecture = imported.architecture or f"an unknown architecture ({imported.model_name or 'unnamed'})"
    echo(f"{weights}: {len(imported.weights)} tensors, {architecture}, {imported.n_classes or 'unknown'} classes")
    target = "unknown" if imported.truth.target_class is None else imported.truth.target_class
    echo(f"{truth}: backdoored {imported.truth.backdoored}, target class {target}")
    if imported.architecture is None:
        echo("to scan it, load these weights into a module of your own and pass that to studies.scan.scan")
    echo("images are often normalised outside such weights: give the tool's --mean and --std when scanning")
