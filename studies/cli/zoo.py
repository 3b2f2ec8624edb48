"""`simkit zoo`: train victims, and list them with their ground truth."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from simkit.errors import ConfigError
from simkit.home import home
from simkit.progress import OnProgress
from studies.cli.help import Commands
from studies.cli.output import echo, print_json, print_table, progress_bar
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from simkit.zoo.manifest import Manifest, Victim
    from simkit.zoo.spec import ZooSpec

app = typer.Typer(cls=Commands, help="Make and list zoos: victims with known ground truth.", no_args_is_help=True)

SpecFile = Annotated[
    Path | None, typer.Argument(metavar="SPEC", help="A zoo spec as a .toml or .json file.", show_default=False)
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
        help="Settings that replace those of SPEC: data=digits, split=tune, models=8, sizes=[1,2], train.epochs=3 ...",
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


FAILED_COLUMNS = ("index", "stratum", "architecture", "target_classes", "clean_accuracy", "success_rate")


@app.command("make")
def make_zoo(  # noqa: PLR0913 - one parameter an option
    spec: SpecFile = None,
    preset: Annotated[
        str | None, typer.Option(help="A preset in place of SPEC: cifar10, gtsrb or imagenette.", show_default=False)
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="The split: tune, calibrate or report; a SPEC has its own.", show_default=False),
    ] = None,
    models: Annotated[
        int | None, typer.Option(help="Number of victims, in place of the preset's.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The images, as in simkit scan --data; a preset downloads its own.", metavar="PATH"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the preset: small, fleet (as many victims as in the slides), or paper (ResNet-18 on CUDA)."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Number of processes that train, each with its own copy of the images.")
    ] = 1,
    indices: Annotated[
        str | None,
        typer.Option(metavar="0-19,25", help="Make only these models, each as in the whole zoo.", show_default=False),
    ] = None,
    out: OutFolder = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Train the victims of a zoo. The same command resumes an unfinished zoo."""
    from simkit.data import load
    from simkit.zoo.presets import check_preset
    from simkit.zoo.zoo import make
    from studies.study.plan import index_ranges

    chosen = _Chosen(spec, preset, split, models, data, size)
    wanted = zoo_spec(chosen, out, settings or [])
    if preset is not None and data is not None:
        check_preset(preset, load(wanted.data, "test", 1, image_size=wanted.image_size).n_classes)
    folder, ranges = out or home() / "zoos" / wanted.name, None if indices is None else index_ranges(indices)
    done, to_make = _to_make(wanted, folder, ranges)
    with progress_bar(f"zoo {wanted.name}", quiet=as_json) as progress:
        finished = _counted(progress, done, done + to_make, quiet=as_json)
        manifest = make(wanted, folder, finished, workers, ranges)
    _show(folder, manifest, as_json)


@app.command("list")
def list_zoo(folder: ZooFolder, as_json: AsJson = False) -> None:
    """List the victims in DIR with their ground truth."""
    from simkit.zoo.manifest import Manifest

    _show(folder, Manifest.load(folder), as_json)


@dataclass(frozen=True)
class _Chosen:
    """The source of a spec: a file, or a preset with its options."""

    file: Path | None
    preset: str | None
    split: str | None
    models: int | None
    data: str | None
    size: str | None

    def fields(self, out: Path | None, settings: list[str]) -> dict[str, Any]:
        """The spec's fields before `--set` is applied. Raises ConfigError."""
        from simkit.zoo.presets import zoo_preset
        from simkit.zoo.spec import ZooSpec

        if self.preset is not None:
            if self.file is not None:
                raise ConfigError("both a preset and a spec file were given; give one of them")
            if self.split is None:
                raise ConfigError("a preset needs --split tune, calibrate or report, whose victims are disjoint")
            split, size = cast(Any, self.split), cast(Any, self.size or "small")
            return zoo_preset(self.preset, split, self.models, self.data, size).model_dump(mode="json")
        if self.size is not None:
            raise ConfigError("--size applies to a preset; name one with --preset")
        if self.file is not None:
            fields = ZooSpec.load(self.file).model_dump(mode="json")
        elif not settings:
            raise ConfigError("no zoo was named; give a SPEC, or for example --preset cifar10 --split tune")
        else:
            fields = {} if out is None else {"name": out.resolve().name}
        given = {"split": self.split, "models": self.models, "data": self.data}
        return fields | {name: value for name, value in given.items() if value is not None}


def zoo_spec(chosen: _Chosen, out: Path | None, settings: list[str]) -> ZooSpec:
    """The chosen spec with the settings applied; without file and preset, its default name is that of the folder.

    Raises ConfigError.
    """
    from simkit.zoo.spec import ZooSpec

    return ZooSpec.of(with_settings(chosen.fields(out, settings), settings))


def _to_make(spec: ZooSpec, folder: Path, indices: list[range] | None) -> tuple[int, int]:
    """The number of victims that are there, and of those that are missing if no backdoor fails, among the indices."""
    from simkit.zoo.manifest import MANIFEST, Manifest
    from simkit.zoo.zoo import among, missing

    manifest = Manifest.load(folder) if (folder / MANIFEST).exists() else None
    made = () if manifest is None else (*manifest.victims, *manifest.failed)
    done = among((victim.index for victim in made if not victim.failed), indices)
    return len(done), len(among(missing(spec, {victim.index: victim.failed for victim in made}), indices))


def _counted(progress: OnProgress, done: int, total: int, *, quiet: bool) -> Callable[[Victim], None]:
    """A callback that advances the progress bar per victim, or prints a line per victim where there is no terminal."""
    plain, failed = not quiet and not sys.stderr.isatty(), 0
    progress(done, total)

    def finished(victim: Victim) -> None:
        nonlocal done, failed
        done, failed = done + (not victim.failed), failed + victim.failed
        progress(done, total, f"({failed} without a working backdoor)" if failed else "")
        if plain:
            echo(f"{_words(victim)} ({done} of {total})", err=True)

    return finished


def _words(victim: Victim) -> str:
    """A victim in one line."""
    name = f"{victim.index:4d}  {victim.stratum}  {victim.architecture}: clean accuracy {victim.clean_accuracy:.1%}"
    success = "" if victim.success_rate is None else f", ASR {victim.success_rate:.1%}"
    failed = ", which is too low: the next model of its stratum will replace it" if victim.failed else ""
    return f"{name}{success}{failed}, {victim.seconds:.1f} s"


def _show(folder: Path, manifest: Manifest, as_json: bool) -> None:
    if as_json:
        print_json(manifest.model_dump(mode="json") | {"folder": str(folder), "complete": manifest.complete})
        return
    print_table([victim.model_dump() for victim in manifest.victims], COLUMNS)
    echo(f"{folder}: {len(manifest.victims)} of {manifest.spec.models} victims of zoo {manifest.spec.name}")
    if manifest.failed:
        replaced = "replaced" if manifest.complete else "will replace"
        least = f"{100 * manifest.spec.required_success:g} %"
        echo(f"backdoor training failed (ASR < {least}); the next model of the stratum {replaced} each of these:")
        print_table([victim.model_dump() for victim in manifest.failed], FAILED_COLUMNS)
