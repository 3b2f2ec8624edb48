"""One victim of a zoo in five formats: verdict, target class and relative speed of each.

python benchmarks/formats.py ZOO:3 --data PATH --budget N --out results/formats.jsonl

Formats whose libraries are missing are left out: ONNX needs onnx, onnxruntime and onnxscript. Speeds are images per
second of the bare oracles, measured in turns, relative to the nn.Module; the median of the rounds is reported.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from oracles.model_files import Description, load_model
from oracles.oracle import ImageShape, Oracle
from simkit.data import ImageSet
from simkit.files import make_folder
from simkit.zoo.networks import NETWORKS
from studies.cli.model_writers import NEEDED, WRITERS
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.scan.models import Model, model_path, open_model
from studies.scan.prepare import prepare
from studies.scan.run import run_scan
from studies.scan.run_key import environment

COLUMNS = ("format", "verdict", "flagged", "queries", "speed", "gap")


def main(
    victim: Annotated[str, typer.Argument(help="An entry of a zoo: DIR:7.")],
    data: Annotated[str, typer.Option(help="The images that the zoo was trained on.")],
    budget: Annotated[int, typer.Option(help="Query budget per scan.")] = 300_000,
    oracle: Annotated[str, typer.Option(help="The oracle, as in simkit scan.")] = "scores",
    rounds: Annotated[int, typer.Option(help="Rounds of timing.")] = 15,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    config = ScanConfig.of({"data": data, "budget": budget, "oracle": oracle})
    images = choose_images(config, None).search
    with tempfile.TemporaryDirectory(prefix="simkit-formats-") as folder:
        models = formats(model_path(victim), images.image_shape, Path(folder))
        speeds, gaps = ratios(models, images, config, rounds), differences(models, images, config)
        lines = [scanned(name, model, config) for name, model in models.items()]
    table = [line | {"speed": speeds[line["format"]], "gap": gaps[line["format"]]} for line in lines]
    print_table([{**row, "speed": f"{row['speed']:.2f}", "gap": f"{row['gap']:.1e}"} for row in table], COLUMNS)
    same = len({(line["verdict"], tuple(line["flagged"])) for line in lines}) == 1
    typer.echo("the same verdict and target class" if same else "verdicts or target classes DIFFER")
    if out is not None:
        make_folder(out.parent)
        settings = {"victim": Path(victim).name, "budget": budget, "oracle": oracle, "same": same}
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(settings | {"formats": table, "environment": environment()}) + "\n")
    if not same:
        raise typer.Exit(1)


def formats(weights: Path, image_shape: ImageShape, folder: Path) -> dict[str, Model]:
    """The model in `weights` in every format that this environment can write, the files below `folder`."""
    module = load_model(weights, NETWORKS, Description(image_shape=image_shape)).module
    models: dict[str, Model] = {"nn.Module": module}
    for name, (suffix, write) in WRITERS.items():
        if all(map(find_spec, NEEDED.get(name, ()))):
            models[name] = folder / f"model{suffix}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # exporters announce their own deprecation
                write(module, torch.rand(2, *image_shape), folder / f"model{suffix}")
    models["callable"] = answering(module)
    return models


def answering(module: nn.Module) -> Callable[[Any], Any]:
    """The module as a plain function of numpy arrays, like a service."""

    def answer(images: Any) -> Any:
        with torch.inference_mode():
            return torch.cat([module(part) for part in torch.split(torch.from_numpy(images), 50)]).numpy()

    return answer


def scanned(name: str, model: Model, config: ScanConfig) -> dict[str, Any]:
    """The verdict on one format."""
    result = run_scan(prepare(model, config))
    return {"format": name, "verdict": result.verdict, "flagged": list(result.flagged), "queries": result.spent}


def ratios(models: dict[str, Model], images: ImageSet, config: ScanConfig, rounds: int) -> dict[str, float]:
    """Images per second relative to the first model, by the medians over rounds that query each model once."""
    oracles = {name: open_model(model, images, config).oracle for name, model in models.items()}
    batch = images.pixels.repeat(4, 1, 1, 1)[:512]
    taken = [{name: seconds(oracle, batch) for name, oracle in oracles.items()} for _ in range(rounds + 1)][1:]
    medians = {name: float(np.median([times[name] for times in taken])) for name in oracles}
    first = next(iter(medians.values()))
    return {name: round(first / median, 3) for name, median in medians.items()}


def seconds(oracle: Oracle, batch: torch.Tensor) -> float:
    started = time.perf_counter()
    oracle.query(batch)
    return time.perf_counter() - started


def differences(models: dict[str, Model], images: ImageSet, config: ScanConfig) -> dict[str, float]:
    """The largest difference of a score from the first model's."""
    answers: dict[str, Any] = {
        name: open_model(model, images, config).oracle.query(images.pixels) for name, model in models.items()
    }
    first = next(iter(answers.values()))
    return {name: float(np.abs(answer.values - first.values).max()) for name, answer in answers.items()}


if __name__ == "__main__":
    run(main, __doc__)
