"""What it costs to run a model file in a process that can open nothing: its start, and queries per second.

python benchmarks/sandbox.py --network resnet8 --size 32 --out results/sandbox.jsonl

The same file is opened in a process of its own and in this one, and both are asked in turns, with batches of 1, 16 and
128 images. The table has the speed there relative to here, by processor time: what an idle machine shows. The line has
the queries per second of the clock, too; medians of the rounds. Formats whose libraries are missing are left out.
`torch.export.load` is timed as well, in this process, against our own interpreter of the same archive.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from oracles.model_files import Description, load_model
from oracles.model_files.description import LoadedModel
from oracles.sandbox.model import SandboxedModel
from oracles.torch_model import TorchOracle
from simkit.files import make_folder
from simkit.zoo.networks import NETWORKS
from studies.cli import model_writers
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.run_key import environment

BATCHES = (1, 16, 128)
CLASSES = 10
COLUMNS = ("format", "start_cpu", "start", "here_cpu", "missing", *(f"at_{batch}" for batch in BATCHES))


@dataclass(frozen=True)
class Cost:
    """Of one format. start, start_cpu: seconds, and those of processors, until the model in the other process can be
    asked; here_cpu: the same in this process. there, here: queries per second by batch size; cpu: speed there relative
    to here by the time of processors. same: to every bit."""

    format: str
    start: float
    start_cpu: float
    here_cpu: float
    there: Mapping[int, float]
    here: Mapping[int, float]
    cpu: Mapping[int, float]
    same: bool
    missing: str

    def row(self) -> dict[str, Any]:
        """For people: seconds, and the speed in the other process as a share of that in this one."""
        shares = {f"at_{batch}": f"{self.cpu[batch]:.2f}" for batch in BATCHES}
        seconds = {name: f"{getattr(self, name):.2f} s" for name in ("start", "start_cpu", "here_cpu")}
        return {"format": self.format, "missing": self.missing or "nothing", **seconds, **shares}


def main(
    network: Annotated[str, typer.Option(help="One of simkit's own networks.")] = "resnet8",
    size: Annotated[int, typer.Option(help="Height and width of the images, which have 3 channels.")] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds of timing.")] = 15,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = NETWORKS[network]((3, size, size), CLASSES).eval()
    with tempfile.TemporaryDirectory(prefix="simkit-sandbox-") as folder:
        paths = written(module, size, Path(folder))
        costs = [measured(name, path, size, rounds) for name, path in paths.items()]
        load = export_load(paths["torch.export"], size, rounds)
    print_table([cost.row() for cost in costs], COLUMNS)
    typer.echo(f"torch.export.load, to our interpreter: {load}")
    if out is not None:
        make_folder(out.parent)
        line = {"network": network, "size": size, "rounds": rounds, "formats": [asdict(cost) for cost in costs]}
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line | {"export_load": load, "environment": environment()}) + "\n")
    if not all(cost.same for cost in costs):
        raise typer.Exit(1)


def write_onnx(module: nn.Module, images: torch.Tensor, path: Path) -> None:
    """By tracing, which needs no onnxscript."""
    torch.onnx.export(module, (images,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})


WRITERS = model_writers.WRITERS | {"ONNX": (".onnx", write_onnx)}


def written(module: nn.Module, size: int, folder: Path) -> dict[str, Path]:
    """The file of each format that this environment can write."""
    paths = {}
    for name, (suffix, write) in WRITERS.items():
        if name != "ONNX" or all(map(find_spec, ("onnx", "onnxruntime"))):
            paths[name] = folder / f"model{suffix}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # exporters announce their own deprecation
                write(module, torch.rand(2, 3, size, size), paths[name])
    return paths


def measured(name: str, path: Path, size: int, rounds: int) -> Cost:
    """The cost of one file."""
    before = time.process_time()
    here = oracle_of(loaded(path, size, trusted=True))
    here_cpu = time.process_time() - before
    began = time.perf_counter()
    model = loaded(path, size, trusted=False)
    there = oracle_of(model)
    start = time.perf_counter() - began
    assert isinstance(model.module, SandboxedModel)
    speeds, same = speeds_of((there, here), model.module.pid, size, rounds)
    return Cost(name, start, start_cpu(path, size), here_cpu, **speeds, same=same, missing=model.notes)


def loaded(path: Path, size: int, *, trusted: bool) -> LoadedModel:
    return load_model(path, NETWORKS, Description(image_shape=(3, size, size), n_classes=CLASSES), trusted=trusted)


def oracle_of(model: LoadedModel) -> TorchOracle:
    assert model.image_shape is not None
    return TorchOracle(model.module, model.image_shape, n_classes=CLASSES)


def start_cpu(path: Path, size: int) -> float:
    """Seconds of processors that a process takes which opens the model, is asked about one image, and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    oracle = oracle_of(loaded(path, size, trusted=False))
    oracle.query(torch.rand(1, 3, size, size))
    del oracle
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def speeds_of(
    oracles: tuple[TorchOracle, TorchOracle], pid: int, size: int, rounds: int
) -> tuple[dict[str, dict[int, float]], bool]:
    """Queries per second of the clock there and here, their ratio by processor time, and whether all answers agree."""
    speeds: dict[str, dict[int, float]] = {"there": {}, "here": {}, "cpu": {}}
    same = True
    for batch in BATCHES:
        images, times = torch.rand(batch, 3, size, size), max(1, 128 // batch)
        answers: list[Any] = [oracle.query(images) for oracle in oracles]
        same = same and bool((answers[0].values == answers[1].values).all())
        taken = np.array([[seconds(oracle.query, images, times, pid) for oracle in oracles] for _ in range(rounds)])
        (there, there_cpu), (here, here_cpu) = np.median(taken, axis=0)
        speeds["there"][batch], speeds["here"][batch] = (round(batch * times / float(s), 1) for s in (there, here))
        speeds["cpu"][batch] = round(float(here_cpu / there_cpu), 3)
    return speeds, same


def export_load(path: Path, size: int, rounds: int) -> dict[str, float]:
    """Seconds of the processor to load the archive by torch and by us, and torch's speed relative to ours by batch."""
    began = time.process_time()
    torchs = torch.export.load(path).module()
    middle = time.process_time()
    ours = loaded(path, size, trusted=True).module
    told = {"torch_cpu": round(middle - began, 3), "our_cpu": round(time.process_time() - middle, 3)}
    for batch in BATCHES:
        images, times = torch.rand(batch, 3, size, size), max(1, 128 // batch)
        with torch.inference_mode():
            taken = [[seconds(model, images, times) for model in (torchs, ours)] for _ in range(rounds + 1)][1:]
        (_, torchs_cpu), (_, our_cpu) = np.median(taken, axis=0)
        told[f"speed_at_{batch}"] = round(float(our_cpu / torchs_cpu), 3)
    return told


def seconds(
    asked: Callable[[torch.Tensor], object], images: torch.Tensor, times: int, pid: int | None = None
) -> tuple[float, float]:
    """Of the clock, and of processors in this process and, if it is given, in another."""
    clock, processors = time.perf_counter(), cpu_seconds(pid)
    for _ in range(times):
        asked(images)
    return time.perf_counter() - clock, cpu_seconds(pid) - processors


def cpu_seconds(pid: int | None) -> float:
    """Of this process and another, whose clock Linux names by its number (`clock_getcpuclockid`)."""
    return time.process_time() + (0.0 if pid is None else time.clock_gettime(~pid << 3 | 2))


if __name__ == "__main__":
    run(main, __doc__)
