"""`simkit scan`: query one model until there is a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simkit.detectors.registry import preset_help
from studies.cli.imports import lasting_imports
from studies.cli.output import echo, print_json, print_table, progress_bar, warnings_in_a_line
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from simkit.search.driver import DriverConfig
    from simkit.search.images import ScanImages
    from studies.scan.prepare import Prepared
    from studies.scan.result import ScanResult

EXIT_CODES = {"undecided": 3, "invalid": 4}
"""Exit codes by verdict; 0 for the others."""

_SHOWN = 10
_WORDS = {
    "backdoored": "a small trigger turns unseen images into the flagged class",
    "clean": "no class has a trigger that is both flagged and confirmed",
    "undecided": "the budget ran out before a verdict; give a larger --budget",
    "invalid": "the model does not answer like a trained classifier of these images",
}

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model file, DIR:7 for a victim of a zoo, or python:module:name.", show_default=False
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Test images: digits, torchvision:cifar10, torchvision:gtsrb, a .npz file, or a folder of images or "
        "Parquet files; not needed for b3d-ss.",
        show_default=False,
    ),
]
BudgetOption = Annotated[int, typer.Option("--budget", metavar="N", help="Maximum number of queries.")]
OracleOption = Annotated[
    str,
    typer.Option(
        "--oracle",
        metavar="SPEC",
        help="The service's answers: scores, top3, label, noisy, or a file or JSON of a spec.",
    ),
]
PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="NAME",
        help=preset_help(),
    ),
]
RestrictionOption = Annotated[
    str | None,
    typer.Option("--restriction", metavar="MODULE:NAME", help="A restriction of your own, directly around the model."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the choice of images and of the search.")]
OutputOption = Annotated[
    str | None, typer.Option("--output", help="What the model outputs: auto, logits or probabilities.")
]
Mean = Annotated[
    str | None, typer.Option("--mean", metavar="A,B,C", help="Per-channel mean, subtracted from pixels in [0, 1].")
]
Std = Annotated[
    str | None, typer.Option("--std", metavar="A,B,C", help="Per-channel standard deviation; divides after the mean.")
]
Precision = Annotated[str | None, typer.Option("--precision", help="Model arithmetic: float32 or bfloat16.")]
Chunk = Annotated[int | None, typer.Option("--chunk", help="Maximum number of images per forward pass.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads of torch; resuming a run requires the number it began with."),
]
Architecture = Annotated[
    str | None, typer.Option("--architecture", help="For a file that holds only weights: resnet8, timm:NAME ...")
]
LedgerFile = Annotated[
    Path | None, typer.Option("--db", metavar="FILE", help="The ledger; by default one per scan in SIMKIT_HOME/scans.")
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the triggers; by default `triggers` beside the ledger."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Any other setting, such as search_images=64. For B3D, the slides' lambda is search.sparsity.weight, "
        "sigma is search.sigma and k is search.samples.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, however the scan ends.")]


def scan_model(  # noqa: PLR0913 (the options are the command's interface; ScanConfig holds them)
    model: ModelName,
    budget: BudgetOption,
    data: Data = "",
    oracle: OracleOption = "scores",
    preset: PresetOption = "auto",
    restriction: RestrictionOption = None,
    seed: Seed = 0,
    output: OutputOption = None,
    mean: Mean = None,
    std: Std = None,
    precision: Precision = None,
    chunk: Chunk = None,
    threads: Threads = None,
    architecture: Architecture = None,
    db: LedgerFile = None,
    out: OutFolder = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Decide whether MODEL carries a backdoor, using at most N queries.

    After a crash the same command resumes the scan.
    Once there is a verdict, it prints the stored result without a query.
    A different budget, thread count or library version starts a new run; the command warns about the last two.
    Exit codes: 0 done, 3 undecided (the budget ran out, or the service refused), 4 bad model or data.
    """
    with lasting_imports():
        import torch

        from studies.scan.config import ScanConfig
        from studies.scan.prepare import prepare
        from studies.scan.run import default_db, run_scan
        from studies.scan.user_code import is_reference, referred

    torch.set_num_threads(threads or torch.get_num_threads())
    options = {
        **{"data": data, "budget": budget, "oracle": oracle, "seed": seed, "output": output},
        "preset": referred(preset) if is_reference(preset) else preset,
        "restriction": None if restriction is None else referred(restriction),
        **{"mean": mean, "std": std, "precision": precision, "chunk": chunk, "architecture": architecture},
    }
    given = {name: value for name, value in options.items() if value is not None}
    with warnings_in_a_line():
        prepared = prepare(model, ScanConfig.of(with_settings(given, settings or [])))
        with progress_bar(f"scan {Path(model).name}", quiet=as_json) as progress:
            result = run_scan(prepared, db or default_db(prepared), out, progress)
    code = EXIT_CODES.get(result.verdict, 0)
    if as_json:
        print_json(result.to_json() | {"error": _error(result), "exit_code": code})
    else:
        show(result, prepared)
    if code:
        raise typer.Exit(code)


def print_failure(message: str, code: int) -> None:
    """Print the JSON object of a scan that has no result."""
    from studies.scan.result import empty_json

    print_json(empty_json() | {"error": message, "exit_code": code})


def show(result: ScanResult, prepared: Prepared) -> None:
    """Print the verdict in words, the classes with the smallest masks, the cost, and the ledger."""
    flagged = f", class {', '.join(map(str, result.flagged))}" if result.flagged else ""
    worded = result.verdict in ("backdoored", "clean") or result.stopped == "budget"
    echo(f"{result.verdict}{flagged}: {_reason(result, prepared) if worded or not result.notes else result.notes}")
    if worded and result.notes:
        echo(f"note: {result.notes}")
    if any(c.mask_size > 0 for c in result.classes):
        _show_classes(result)
    _show_cost(result)


def _reason(result: ScanResult, prepared: Prepared) -> str:
    """The reason for the verdict: for `clean`, what was searched; for a budget that is too small, the least one."""
    preset = prepared.config.resolved()
    if result.verdict == "clean" and (sought := preset.only_sought) is not None:
        return f"no {sought} is both flagged and confirmed; other triggers were not searched for"
    price = _check_price(prepared.images, preset.driver)
    if result.verdict == "undecided" and result.budget is not None and result.budget < price:
        what = "images" if prepared.images.synthesis else "first check"
        return f"the budget does not cover the {what}; give --budget {price} or more"
    return _WORDS[result.verdict]


def _check_price(images: ScanImages, driver: DriverConfig) -> int:
    """Queries of the first check: a few labelled images, or all images where the model labels or makes them."""
    searched = len(images.search)
    if images.synthesis is not None:
        return images.synthesis.config.most_queries(searched + len(images.verify))
    return min(driver.check_images, searched) if images.search.labelled else searched + len(images.verify)


def _show_classes(result: ScanResult) -> None:
    rows = [vars(c) | {"class": c.target_class} for c in result.classes]
    rows.sort(key=lambda row: (row["class"] not in result.flagged, row["censored"], row["mask_size"]))
    print_table(rows[:_SHOWN], ("class", "mask_size", "success_rate", "censored"))
    if len(rows) > _SHOWN:
        echo(f"and {len(rows) - _SHOWN} more classes with larger masks")


def _show_cost(result: ScanResult) -> None:
    from studies.render.formats import size_words

    score = "-" if result.score is None else f"{result.score:.3g}"
    flags = "" if result.size_limit is None else f" flags masks {size_words(result.rule, result.size_limit)}"
    echo(f"score {score}; rule {result.rule}{flags} (threshold {result.threshold:g}, {result.threshold_source})")
    cap = "no limit" if result.budget is None else f"a budget of {result.budget:,}"
    accuracy = "unknown" if result.clean_accuracy is None else f"{result.clean_accuracy:.1%}"
    echo(
        f"{result.spent:,} queries of {cap}, {result.refused:,} refused, {result.seconds:.1f} s; stopped: "
        f"{result.stopped}; accuracy on clean images {accuracy}"
    )
    if result.api_seconds is not None or result.cost is not None:
        waited = "-" if result.api_seconds is None else f"{result.api_seconds:,.1f} s"
        price = "-" if result.cost is None else f"{result.cost:,.2f}"
        echo(f"simulated API time {waited}; cost {price}")
    if result.triggers is not None:
        echo(f"triggers: {' '.join(map(str, (result.triggers.npz, *result.triggers.png)))}")
    echo(f"ledger: {result.db}, run {result.run}")


def _error(result: ScanResult) -> str | None:
    return (result.notes or _WORDS["invalid"]) if result.verdict == "invalid" else None
