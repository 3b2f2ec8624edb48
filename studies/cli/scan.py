"""`simkit scan`: query one model until there is a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simkit.detectors.registry import preset_help
from studies.cli.imports import lasting_imports
from studies.cli.output import print_json, progress_bar, warnings_in_a_line
from studies.cli.remote_options import (
    ApiKeyEnv,
    ApiKeyFile,
    ClassNames,
    Endpoint,
    InFlight,
    NClasses,
    Pace,
    with_remote,
)
from studies.cli.scan_words import WORDS, closest_words, show
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from studies.scan.result import ScanResult

EXIT_CODES = {"undecided": 3, "invalid": 4}
"""Exit codes by verdict; 0 for the others."""

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file, DIR:7 for a victim of a zoo, python:module:name, or a service: "
        "https://HOST/v2/models/NAME (Open Inference Protocol), hf:URL, rekognition:ARN, customvision:URL, vertex:URL, "
        "clarifai:URL or template:FILE.toml.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Test images: digits, torchvision:cifar10, torchvision:gtsrb, torchvision:imagenette, a .npz file, or a "
        "folder of images or Parquet files (DIR:label=COLUMN names the labels' column); not needed for b3d-ss.",
        show_default=False,
    ),
]
BudgetOption = Annotated[
    int | None,
    typer.Option(
        "--budget",
        metavar="N",
        help="Maximum number of queries; may be left out only where --settings has it.",
        show_default=False,
    ),
]
OracleOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        metavar="SPEC",
        help="The service's answers: scores, top3, label, noisy, or a file or JSON of a spec.",
        show_default="scores",
    ),
]
RefineOption = Annotated[
    int | None,
    typer.Option(
        "--refine",
        metavar="N",
        help="Maximum number of queries that refine the trigger of a flagged class; 0 for none.",
        show_default="500 in auto, b3d, race-families, race-mosaics, race-pictures, race-warps and race-wide, else 0",
    ),
]
PresetOption = Annotated[str | None, typer.Option("--preset", metavar="NAME", help=preset_help(), show_default="auto")]
RestrictionOption = Annotated[
    str | None,
    typer.Option("--restriction", metavar="MODULE:NAME", help="A restriction of your own, directly around the model."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Seed of the choice of images and of the search.", show_default="0")
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="What the model outputs: auto, logits or probabilities; one number per image is that of class 1 of two.",
    ),
]
OutputItem = Annotated[
    str | None,
    typer.Option(
        "--output-item",
        metavar="NAME",
        help="Which output has the scores, where the model returns several: its position (0, 1 ...) or its name.",
    ),
]
InputLayout = Annotated[
    str | None,
    typer.Option("--input-layout", help="nhwc for a model that takes images (N, height, width, channels)."),
]
InputDtype = Annotated[str | None, typer.Option("--input-dtype", help="uint8 for a model that takes pixels of 0..255.")]
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
NewRun = Annotated[
    bool,
    typer.Option(
        "--new-run",
        help="Start a new run, and pay again, where the ledger holds this scan with a verdict, or with another number "
        "of threads or other library versions.",
    ),
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
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE.toml",
        help="Settings from a file, such as simkit study tune --best writes; options given here replace them.",
        show_default=False,
    ),
]
TrustModel = Annotated[
    bool,
    typer.Option(
        "--trust-model",
        help="Run a TorchScript, torch.export or ONNX file in this process, with all that you may do, instead of in a"
        " process that can open nothing.",
    ),
]
Prior = Annotated[
    float | None,
    typer.Option(
        "--prior",
        metavar="P",
        help="Share of all models that carry a backdoor, for the probability that this one does; changes no verdict.",
        show_default="0.5",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, however the scan ends.")]


def scan_model(  # noqa: PLR0913 (the options are the command's interface; ScanConfig holds them)
    model: ModelName,
    budget: BudgetOption = None,
    data: Data = None,
    oracle: OracleOption = None,
    preset: PresetOption = None,
    refine: RefineOption = None,
    restriction: RestrictionOption = None,
    seed: Seed = None,
    output: OutputOption = None,
    output_item: OutputItem = None,
    input_layout: InputLayout = None,
    input_dtype: InputDtype = None,
    mean: Mean = None,
    std: Std = None,
    precision: Precision = None,
    chunk: Chunk = None,
    threads: Threads = None,
    architecture: Architecture = None,
    db: LedgerFile = None,
    new_run: NewRun = False,
    out: OutFolder = None,
    settings: Settings = None,
    settings_file: SettingsFile = None,
    trust_model: TrustModel = False,
    api_key_env: ApiKeyEnv = None,
    api_key_file: ApiKeyFile = None,
    in_flight: InFlight = None,
    pace: Pace = None,
    endpoint: Endpoint = None,
    class_names: ClassNames = None,
    n_classes: NClasses = None,
    prior: Prior = None,
    as_json: AsJson = False,
) -> None:
    """Decide whether MODEL carries a backdoor, using at most N queries.

    After a crash the same command resumes the scan.
    Once there is a verdict, it prints the stored result without a query, unless --new-run is set.
    A different budget starts a new run; a different thread count or library version does so only with --new-run.
    Exit codes: 0 done, 3 undecided (the budget ran out, the service refused, or unseen images did not decide),
    4 bad model or data.
    """
    with lasting_imports():
        import torch

        from simkit.references import is_reference, referred
    torch.set_num_threads(threads or torch.get_num_threads())
    options = {
        **{"data": data, "budget": budget, "oracle": oracle, "seed": seed, "output": output},
        "preset": referred(preset) if preset is not None and is_reference(preset) else preset,
        "restriction": None if restriction is None else referred(restriction),
        **{"mean": mean, "std": std, "precision": precision, "chunk": chunk, "architecture": architecture},
        **{"output_item": output_item, "input_layout": input_layout, "input_dtype": input_dtype},
        **{"refine": refine, "n_classes": n_classes, "trust_model": trust_model or None},
    }
    asked = {"key_env": api_key_env, "key_file": api_key_file, "in_flight": in_flight, "pace": pace}
    asked |= {"endpoint": endpoint, "class_names": class_names}
    given = with_settings(_given(settings_file, asked, options), settings or [])
    _scan_and_show(model, given, _Places(db, out), new_run=new_run, prior=prior, as_json=as_json)


def _given(path: Path | None, asked: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The settings of a file, and those of options, which replace them. asked: how a service is asked."""
    from studies.scan.settings_file import settings_from

    given = with_remote({} if path is None else settings_from(path), asked)
    return given | {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class _Places:
    """Where a scan is stored: its ledger, and the folder of its triggers."""

    db: Path | None
    out: Path | None


def _scan_and_show(
    model: str, given: Mapping[str, Any], places: _Places, *, new_run: bool, prior: float | None, as_json: bool
) -> None:
    """Scan with these settings, print what came of it, and exit with its code."""
    with lasting_imports():
        from simkit.errors import ConfigError
        from studies.scan.config import ScanConfig
        from studies.scan.prepare import prepare
        from studies.scan.probability import PRIOR, checked_prior
        from studies.scan.run import default_db, run_scan

    if "budget" not in given:
        raise ConfigError("there is no --budget; give the maximum number of queries")
    share = checked_prior(PRIOR if prior is None else prior)
    with warnings_in_a_line():
        prepared = prepare(model, ScanConfig.of(given))
        with progress_bar(f"scan {Path(model).name}", quiet=as_json) as progress:
            ledger = places.db or default_db(prepared)
            stored = _stored(ledger)
            result = run_scan(prepared, ledger, places.out, progress, new_run=new_run, again=new_run).under(share)
    code = EXIT_CODES.get(result.verdict, 0)
    if as_json:
        print_json(result.to_json() | {"notes": _notes(result), "error": _error(result), "exit_code": code})
    else:
        show(result, prepared, stored.get(result.run or 0, 0))
    if code:
        raise typer.Exit(code)


def print_failure(message: str, code: int) -> None:
    """Print the JSON object of a scan that has no result."""
    from studies.scan.result import empty_json

    print_json(empty_json() | {"error": message, "exit_code": code})


def _stored(db: Path) -> dict[int, int]:
    """The queries of each run in a ledger; empty where there is no file, or one of no bytes, which a scan may fill."""
    from db import reads

    there = db.exists() and db.stat().st_size > 0
    return {row["run"]: row["spent"] for row in reads.listed(db)} if there else {}


def _notes(result: ScanResult) -> str:
    """The notes of the verdict, and of a clean one the class that came closest to being flagged."""
    return "; ".join(filter(None, (result.notes, closest_words(result))))


def _error(result: ScanResult) -> str | None:
    return (result.notes or WORDS["invalid"]) if result.verdict == "invalid" else None
