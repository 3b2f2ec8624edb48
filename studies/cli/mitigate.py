"""`simkit mitigate`: filter a model's inputs with the triggers that a scan reversed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from studies.cli.output import echo, print_json, print_table

if TYPE_CHECKING:
    from simkit.mitigation import Combined
    from studies.mitigate.result import MitigationResult, Point
    from studies.statistics import Share

COLUMNS = ("threshold", "clean_right", "clean_rejected", "triggered_rejected", "triggered_succeed")

LedgerFile = Annotated[
    Path, typer.Argument(metavar="SCAN.db", help="The ledger of a finished scan; it is only read.", show_default=False)
]
RunId = Annotated[int | None, typer.Option("--run", metavar="N", help="The run's number in `simkit db runs`.")]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="The model of the run; by default the path in the ledger."),
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="Labelled test images; by default the run's data.")
]
Zoos = Annotated[
    list[Path] | None,
    typer.Option("--zoo", metavar="DIR", help="A zoo whose manifest knows the attack on the model; may be repeated."),
]
OracleOption = Annotated[
    str | None, typer.Option("--oracle", metavar="SPEC", help="The service's answers; by default as in the run.")
]
Restriction = Annotated[
    str | None, typer.Option("--restriction", metavar="MODULE:NAME", help="Your own restriction that the run used.")
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="T", help="Reject inputs that score below T nats; by default 0.5."),
]
Average = Annotated[
    bool, typer.Option("--mean", help="Score by the mean over the flagged classes instead of the minimum.")
]
Images = Annotated[int, typer.Option("--images", metavar="N", min=1, help="Number of clean test images.")]
BudgetOption = Annotated[
    int | None, typer.Option("--budget", metavar="N", help="Maximum number of queries; by default as many as needed.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the choice of test images.")]
OutFile = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="The ledger of these queries; by default SCAN.mitigation.db."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def mitigate_run(  # noqa: PLR0913 (the options are the command's interface)
    scan_db: LedgerFile,
    run: RunId = None,
    model: ModelName = None,
    data: Data = None,
    zoos: Zoos = None,
    oracle: OracleOption = None,
    restriction: Restriction = None,
    threshold: Threshold = None,
    mean: Average = False,
    images: Images = 512,
    budget: BudgetOption = None,
    seed: Seed = 0,
    db: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Reject inputs whose answer the triggers of a scan hardly change, and measure how many attacks that stops.

    Each input is queried as it is and with the reversed trigger of every flagged class;
    its score is the divergence KL(f(x) || f(T(x))).
    The inputs are clean test images that the scan did not use and, where a zoo knows the attack,
    the same images with the trigger.
    Another threshold, or the same command again, sends no query.
    """
    from oracles.spec import load
    from simkit.mitigation import THRESHOLD
    from simkit.references import referred
    from studies.mitigate.result import ScreenConfig
    from studies.mitigate.screening import Asked, mitigate

    asked = Asked(
        model,
        data,
        None if oracle is None else load(oracle),
        None if restriction is None else cast(Any, referred(restriction)),
        tuple(zoos or ()),
    )
    combined: Combined = "mean" if mean else "least"
    config = ScreenConfig(THRESHOLD if threshold is None else threshold, combined, images, budget, seed)
    result = mitigate(scan_db, run, asked, config, db)
    if as_json:
        print_json(result.to_json())
    else:
        show(result)


def show(result: MitigationResult) -> None:
    """Print the effect of the threshold in words, a table of other thresholds, and the cost."""
    at, without = result.at, result.without
    classes = " and ".join(f"class {target}" for target in result.flagged)
    echo(f"inputs are rejected if the trigger of {classes} changes their answer by less than {at.threshold:g} nats")
    echo(
        f"{result.clean} clean images: accuracy {_rendered(without.accuracy)} without the filter, "
        f"{_rendered(at.accuracy)} with it; rejected {_rendered(result.own_rejected)} of the flagged classes and "
        f"{_rendered(result.others_rejected)} of the other classes"
    )
    if at.triggered_rejected is None or at.success is None or without.success is None:
        echo("triggered images: none, since no zoo knows the attack; name one with --zoo")
    else:
        echo(
            f"{result.triggered} triggered images: {_rendered(at.triggered_rejected)} rejected; ASR "
            f"{_rendered(without.success)} without the filter, {_rendered(at.success)} with it"
        )
    print_table([_row(point) for point in result.points], COLUMNS)
    if result.ranking is not None and result.ranking.auroc is not None:
        from studies.render.formats import ranking_words

        echo(f"AUROC of triggered against clean inputs: {ranking_words(result.ranking)}")
    echo(f"{result.queries:,} queries; ledger: {result.db}, run {result.run}")


def _row(point: Point) -> dict[str, str]:
    shares = (point.accuracy, point.clean_rejected, point.triggered_rejected, point.success)
    cells = {name: _percent(share) for name, share in zip(COLUMNS[1:], shares, strict=True)}
    return {"threshold": f"{point.threshold:g}"} | cells


def _rendered(share: Share) -> str:
    """A share with its Wilson interval, as in `67.4 % (63 to 71)`."""
    from studies.render.formats import ends

    return f"{_percent(share)} ({ends(share, ' to ')})" if share.trials else "none"


def _percent(share: Share | None) -> str:
    return "-" if share is None or share.rate is None else f"{100 * share.rate:.1f} %"
