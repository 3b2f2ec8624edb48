"""`simkit zoo`: make victims, and list what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simkit.home import home
from studies.output import Progress, print_json, print_table, progress_bar
from studies.settings import with_settings

if TYPE_CHECKING:
    from simkit.zoo.manifest import Manifest, Victim
    from simkit.zoo.spec import ZooSpec

app = typer.Typer(help="Make and list zoos: victims of which the truth is known.", no_args_is_help=True)

SpecFile = Annotated[
    Path | None, typer.Argument(metavar="SPEC", help="A zoo spec, .toml or .json.", show_default=False)
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="The zoo's folder; by default zoos/NAME in SIMKIT_HOME.", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Put over what SPEC says: data=digits, split=tune, models=8, sizes=[1,2], train.epochs=3 ...",
        show_default=False,
    ),
]
ZooFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The zoo's folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]

COLUMNS = (
    "index",
    "truth",
    "stratum",
    "architecture",
    "target_classes",
    "clean_accuracy",
    "success_rate",
    "seconds",
    "file",
)


@app.command("make")
def make_zoo(spec: SpecFile = None, out: OutFolder = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Train the victims of a zoo. The same command goes on with a zoo that is not finished."""
    from simkit.zoo.zoo import make

    wanted = zoo_spec(spec, out, settings or [])
    folder = out or home() / "zoos" / wanted.name
    with progress_bar(f"zoo {wanted.name}", quiet=as_json) as progress:
        manifest = make(wanted, folder, _counted(progress, _finished(folder), wanted.models))
    _show(folder, manifest, as_json)


@app.command("list")
def list_zoo(folder: ZooFolder, as_json: AsJson = False) -> None:
    """The victims in DIR, and the truth about each."""
    from simkit.zoo.manifest import Manifest

    _show(folder, Manifest.load(folder), as_json)


def zoo_spec(file: Path | None, out: Path | None, settings: list[str]) -> ZooSpec:
    """The spec in `file` with the settings over it; without a file, named after the folder unless a setting names it.

    Raises ConfigError.
    """
    from simkit.zoo.spec import ZooSpec

    if file is not None:
        fields: dict[str, Any] = ZooSpec.load(file).model_dump(mode="json")
    else:
        fields = {} if out is None else {"name": out.resolve().name}
    return ZooSpec.of(with_settings(fields, settings))


def _finished(folder: Path) -> int:
    from simkit.zoo.manifest import MANIFEST, Manifest

    return len(Manifest.load(folder).victims) if (folder / MANIFEST).exists() else 0


def _counted(progress: Progress, done: int, total: int) -> Callable[[Victim], None]:
    progress(done, total)

    def finished(victim: Victim) -> None:
        nonlocal done
        done += not victim.failed
        progress(done, total)

    return finished


def _show(folder: Path, manifest: Manifest, as_json: bool) -> None:
    if as_json:
        print_json(manifest.model_dump(mode="json") | {"folder": str(folder), "complete": manifest.complete})
        return
    print_table([victim.model_dump() for victim in manifest.victims], COLUMNS)
    typer.echo(f"{folder}: {len(manifest.victims)} of {manifest.spec.models} victims of zoo {manifest.spec.name}")
    if manifest.failed:
        typer.echo(f"{len(manifest.failed)} more did not take their backdoor and were replaced")
