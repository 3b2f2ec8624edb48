"""`simkit data`: inspect a data set before a scan or a training uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.help import Commands
from studies.cli.output import echo, print_json, print_table
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from simkit.data.describe import Description

app = typer.Typer(cls=Commands, help="Inspect a data set before a scan uses it.", no_args_is_help=True)

SourceName = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A data set, as in simkit scan --data.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Any setting of simkit scan, such as image_size=32, seed=1 or search_images=64.",
    ),
]
Whole = Annotated[bool, typer.Option("--all", help="Decode every test image, not only those that a scan would use.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_BAD = 4
_SHOWN = 12


@app.command("show")
def show_data(data: SourceName, settings: Settings = None, whole: Whole = False, as_json: AsJson = False) -> None:
    """Show what DATA holds, and decode the images that a scan with these settings would use.

    The exit code is 4 if a scan cannot use them.
    """
    from simkit.data.describe import describe
    from studies.scan.config import ScanConfig

    config = ScanConfig.of(with_settings({"data": data}, settings or []))
    wanted = config.search_images + config.verify_images
    description = describe(config.data, None if whole else wanted, config.seed, config.image_size)
    problems = list(description.problems)
    if not problems and description.read < wanted:
        problems.append(
            f"{description.read} test images, but a scan uses {wanted}: set search_images and verify_images"
        )
    if as_json:
        print_json(description.to_json() | {"problems": problems})
    else:
        _show(description, problems)
    if problems:
        raise typer.Exit(_BAD)


def _show(data: Description, problems: list[str]) -> None:
    rows = {
        "kind": data.kind,
        "train": data.train,
        "test": data.test,
        "read": data.read,
        "shape": _shape(data),
        "labels": "one per image"
        if data.labelled
        else "none: a scan queries the model for them"
        if data.read
        else None,
        "classes": _classes(data),
        "order of classes": data.order or None,
    }
    print_table([{"property": name, "value": value} for name, value in rows.items()], ("property", "value"))
    for problem in problems:
        echo(f"problem: {problem}")
    for remark in set(data.remarks) - set(problems):
        echo(f"for training: {remark}")


def _shape(data: Description) -> str | None:
    sides = data.image_shape
    return None if sides is None else f"{' x '.join(map(str, sides))} (channels, height, width)"


def _classes(data: Description) -> str | None:
    if not data.classes:
        return None
    named = [f"{name} ({count})" for name, count in zip(data.classes, data.per_class, strict=False)]
    left = len(data.classes) - _SHOWN
    more = f" and {left} more" if left > 0 else ""
    return f"{len(data.classes)}: {', '.join((named or list(data.classes))[:_SHOWN])}{more}"
