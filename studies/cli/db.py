"""`simkit db`: list and check a ledger's runs, upgrade its schema, export it, and merge other ledgers into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.cli.help import Commands
from studies.cli.output import echo, print_json, print_table

app = typer.Typer(
    cls=Commands,
    help="Inspect, export and merge ledgers: the files that hold every query and every verdict.",
    no_args_is_help=True,
)

LedgerFile = Annotated[Path, typer.Argument(metavar="FILE", help="The ledger.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COLUMNS = (
    "run",
    "model",
    "api_key",
    "data",
    "preset",
    "oracle",
    "seed",
    "state",
    "verdict",
    "stopped",
    "score",
    "probability",
    "flagged",
    "spent",
    "budget",
    "seconds",
    "api_seconds",
    "cost",
    "currency",
    "alarms",
    "first_alarm",
    "threads",
    "versions",
)


SHOWN = ("run", "model", "preset", "oracle", "verdict", "flagged", "spent")
"""The columns that fit a terminal."""

SHOWN_IF_KNOWN = ("api_key", "probability", "api_seconds", "cost", "alarms", "first_alarm")
"""Further columns, shown where a run is that of a key of `simkit serve`, or where its detector was calibrated, or a
service states times, or a price with its currency, or raised an alarm."""

SHOWN_IF_DIFFERENT = ("data", "seed", "budget", "threads", "versions")
"""Further columns, shown where they tell apart runs that look alike."""

_VERSIONS = ("simkit", "torch", "numpy", "onnxruntime", "torchvision", "timm")

MERGED = ("source", "run", "model", "key", "outcome", "into")


@app.command("check")
def check_ledger(file: LedgerFile, as_json: AsJson = False) -> None:
    """Check FILE by counting everything again; each mismatch is printed, and any mismatch gives exit code 5."""
    from db.check import check
    from db.engine import reading
    from db.errors import StorageError

    with reading(
        file, older=False
    ):  # a file that is not a ledger of this schema raises here, instead of having mismatches
        pass
    mismatches = check(file)
    if as_json:
        print_json({"file": str(file), "mismatches": mismatches})
    else:
        for mismatch in mismatches:
            echo(mismatch)
    if mismatches:
        raise StorageError(f"{file}: {len(mismatches)} mismatches; restore the file from a copy, or use a new ledger")
    if not as_json:
        echo(f"{file}: sound")


@app.command("upgrade")
def upgrade_ledger(file: LedgerFile) -> None:
    """Upgrade FILE to the schema of this version of simkit, in one transaction that keeps all rows unchanged."""
    from db.engine import identify
    from db.errors import StorageError
    from db.ledger import Ledger

    before = identify(file)
    if before is None:
        raise StorageError(f"{file}: there is no ledger; check the path")
    Ledger.open(file).close()
    echo(f"{file}: schema {before} to {identify(file)}")


@app.command("runs")
def list_runs(file: LedgerFile, as_json: AsJson = False) -> None:
    """List the runs in FILE: verdict, queries spent, and time and cost where the service states them.

    A run of a key of `simkit serve` shows the key's id as api_key; it has no verdict and stays open.

    Where a detector of probing raised alarms: the number of queries with one, and the first of them, counted from 0.

    Data, seed, budget, threads and library versions are shown where they tell runs apart.
    --json adds them all, score, seconds, and why each scan stopped.

    probability is that of a backdoor if half of all models have one, where the detector was calibrated.
    """
    rows = run_rows(file)
    if as_json:
        print_json(rows)
    else:
        shown = [_short(row) for row in rows]
        filled = [name for name in SHOWN_IF_KNOWN if any(row[name] is not None for row in shown)]
        print_table(shown, (*SHOWN, *_telling_apart(rows), *filled))


@app.command("export")
def export_ledger(
    file: LedgerFile,
    parquet: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.", show_default=False)],
    run: Annotated[int | None, typer.Option(help="Export only this run, by its number in `simkit db runs`.")] = None,
) -> None:
    """Export FILE as Parquet: all queries with their answers, steps, verdicts and triggers; the counts are verified."""
    from db.export import export

    exported = export(file, parquet, run)
    echo(f"{parquet}: {exported.queries:,} queries of {len(exported.runs)} runs, {exported.charged:,} charged")


@app.command("merge")
def merge_ledgers(
    into: Annotated[Path, typer.Argument(metavar="INTO", help="A ledger, or a new file.", show_default=False)],
    sources: Annotated[list[Path], typer.Argument(metavar="FROM...", help="Ledgers.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Copy the finished runs of every FROM into INTO, by run key, in one transaction; FROM is not changed.

    A run that INTO has already is kept, so merging twice changes nothing;
    an open run in INTO is replaced by the finished one if both begin with the same calls.
    Open runs of FROM, including those being scanned now, are skipped.
    """
    from db.merge import merge

    rows = [{**vars(merged), "source": str(merged.source)} for merged in merge(into, sources)]
    if as_json:
        print_json(rows)
    else:
        print_table([{**row, "key": str(row["key"])[:12]} for row in rows], MERGED)


@app.command("pull")
def pull_ledger(
    source: Annotated[str, typer.Argument(metavar="URL", help="postgresql://USER@HOST/DATABASE", show_default=False)],
    into: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.", show_default=False)],
) -> None:
    """Copy what the replicas of a service have recorded in a PostgreSQL database into FILE, a new ledger.

    It is the state of one moment; the service goes on. All commands that read a ledger read FILE.
    """
    from db.pull import pull

    got = pull(source, into)
    echo(f"{into}: {got.runs:,} runs, {got.calls:,} calls, {got.charged:,} queries charged, {got.refusals:,} refusals")


def run_rows(file: Path) -> list[dict[str, Any]]:
    """One mapping with COLUMNS per run, in the order of their ids; fields of the verdict are None for an open run.

    Raises StorageError where `file` is no ledger.
    """
    from db import reads
    from simkit.detectors.registry import searched_by
    from studies.ledgers.run_words import answered_in_words, caller_of
    from studies.scan.price import Price
    from studies.scan.probability import probability

    rows = reads.listed(file)
    for row in rows:
        config = json.loads(row["config"])
        row["preset"], row["api_key"] = searched_by(config), caller_of(config)
        oracle = json.loads(row["oracle"])
        codecs = row["codecs"].split(",") if row["codecs"] else []
        row["oracle"], price = answered_in_words(oracle, codecs), Price.stated(oracle)
        row["currency"] = None if price is None else price.currency
        environment = json.loads(row["environment"])
        shape = None if row["image_shape"] is None else tuple(json.loads(row["image_shape"]))
        known = probability(config, environment, row["verdict"], shape)
        row["probability"] = None if known is None else known.value
        row["threads"] = environment.get("threads")
        row["versions"] = ", ".join(f"{name} {environment[name]}" for name in _VERSIONS if name in environment)
        row["flagged"] = json.loads(row["flagged"]) if row["flagged"] else None
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _telling_apart(rows: list[dict[str, Any]]) -> list[str]:
    """The further columns in which runs of the same model, preset and service differ."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault((row["model"], row["preset"], row["oracle"]), []).append(row)
    return [
        name for name in SHOWN_IF_DIFFERENT if any(len({row[name] for row in group}) > 1 for group in alike.values())
    ]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """The row for a terminal: the model without its folder, the state of an open run as its verdict, numbers with
    separated thousands, and a cost only with its currency."""
    from studies.render.formats import money_words
    from studies.scan.probability import chance_words

    name = row["model"].rstrip("/").rpartition("/")[2] or row["model"]
    unknown = row["cost"] is None or row["currency"] is None
    cost = None if unknown else money_words(row["cost"], row["currency"])
    chance = None if row["probability"] is None else chance_words(row["probability"])
    shown = {"model": name, "verdict": row["verdict"] or row["state"], "spent": f"{row['spent']:,}", "cost": cost}
    return row | shown | {"probability": chance}
