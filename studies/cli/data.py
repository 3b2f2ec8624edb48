"""`simkit data`: look at images before a scan or a training takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import print_json, print_table
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from simkit.data.describe import Description

app = typer.Typer(help="Look at images before a scan takes them.", no_args_is_help=True)

SourceName = Annotated[
    str,
    typer.Argument(metavar="DATA", help="What --data of simkit scan takes.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="As for a scan: image_size=32, seed=1, search_images=64 ..."),
]
Whole = Annotated[bool, typer.Option("--all", help="Decode every test image, not only those that a scan would draw.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_BAD = 4
_SHOWN = 12


@app.command("show")
def show_data(data: SourceName, settings: Settings = None, whole: Whole = False, as_json: AsJson = False) -> None:
    """Tell what DATA holds, and decode the images that a scan with these settings would draw.

    Exit code 4 if they keep a scan from working.
    """
    from simkit.data.describe import describe
    from studies.scan.config import ScanConfig

    config = ScanConfig.of(with_settings({"data": data}, settings or []))
    wanted = config.search_images + config.verify_images
    found = describe(config.data, None if whole else wanted, config.seed, config.image_size)
    problems = list(found.problems)
    if not problems and found.read < wanted:
        problems.append(f"{found.read} test images, but a scan takes {wanted}: set search_images and verify_images")
    if as_json:
        print_json(found.to_json() | {"problems": problems})
    else:
        _show(found, problems)
    if problems:
        raise typer.Exit(_BAD)


def _show(found: Description, problems: list[str]) -> None:
    rows = {
        "kind": found.kind,
        "train": found.train,
        "test": found.test,
        "read": found.read,
        "shape": _shape(found),
        "labels": "one an image" if found.labelled else "none: a scan asks the model for them" if found.read else None,
        "classes": _classes(found),
    }
    print_table([{"what": what, "found": value} for what, value in rows.items()], ("what", "found"))
    for problem in problems:
        typer.echo(f"problem: {problem}")
    for remark in set(found.remarks) - set(problems):
        typer.echo(f"for training: {remark}")


def _shape(found: Description) -> str | None:
    sides = found.image_shape
    return None if sides is None else f"{' x '.join(map(str, sides))} (channels, height, width)"


def _classes(found: Description) -> str | None:
    if not found.classes:
        return None
    named = [f"{name} ({count})" for name, count in zip(found.classes, found.per_class, strict=False)]
    left = len(found.classes) - _SHOWN
    more = f" and {left} more" if left > 0 else ""
    return f"{len(found.classes)}: {', '.join((named or list(found.classes))[:_SHOWN])}{more}"
