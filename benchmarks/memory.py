"""Peak memory of whole scans with large images, each in a process of its own.

python benchmarks/memory.py --data path/to/imagenette --out results/memory.jsonl

The model is a small network, so that what is measured are the images, the candidates and the search. The labels of the
images are its own answers; in the scans marked `no labels` it is asked for them, all images in one call. Half of the
images are for the search and half to confirm triggers. The caller holds the images as well, as in a notebook.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from simkit.data import ImageSet, load
from simkit.files import make_folder
from studies.cli.bench_memory import peak
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.run import run_scan
from studies.scan.run_key import environment

COLUMNS = ("preset", "labels", "queries", "imported", "loaded", "peak")
CLASSES = 10


def main(
    data: Annotated[str, typer.Option(help="The images, see `simkit scan --data`.")],
    size: Annotated[int, typer.Option(min=8, help="Height and width that the images are brought to.")] = 224,
    images: Annotated[int, typer.Option(min=4, help="Number of images.")] = 512,
    budget: Annotated[int, typer.Option(min=1, help="Queries per scan.")] = 6_000,
    preset: Annotated[list[str] | None, typer.Option(help="A preset to measure; may be given again.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    wanted = {"data": data, "size": size, "images": images, "budget": budget}
    chosen = preset or ["race", "b3d", "auto"]
    rows = [apart(wanted | {"preset": name, "labels": known}) for name in chosen for known in (True, False)]
    print_table(rows, COLUMNS)
    if out is not None:
        line = {name: value for name, value in wanted.items() if name != "data"} | {"data": Path(data).name}
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line | {"scans": rows, "environment": environment()}) + "\n")


def apart(wanted: dict[str, Any]) -> dict[str, Any]:
    """`measured` in a new process with one thread."""
    words = [sys.executable, __file__, json.dumps(wanted)]
    paths = os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")])
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(data: str, size: int, images: int, budget: int, preset: str, labels: bool) -> dict[str, Any]:
    """One scan: its queries, and the peaks in MB after the imports, after loading and at its end."""
    marks = {"imported": _megabytes()}
    loaded = load(data, "test", images, 0, (size, size))
    model, held = labelled(loaded)
    marks["loaded"] = _megabytes()
    wants = {"preset": preset, "budget": budget, "search_images": images // 2, "verify_images": images - images // 2}
    given = held if labels else held.pixels
    with tempfile.TemporaryDirectory(prefix="simkit-memory-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run_scan(prepare(model, ScanConfig.of(wants), given), Path(folder) / "scan.db")
    return {"preset": preset, "labels": labels, "queries": result.spent, **marks, "peak": _megabytes()}


def labelled(images: ImageSet) -> tuple[nn.Module, ImageSet]:
    """A small random network whose answers are spread over the classes, and the images with its answers as labels."""
    torch.manual_seed(0)
    channels = images.image_shape[0]
    body = nn.Sequential(nn.Conv2d(channels, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    last = nn.Linear(128, CLASSES)
    model = nn.Sequential(body, last).eval()
    with torch.no_grad():
        rows = _answers(model, images)
        last.weight /= rows.std(dim=0)[:, None]
        last.bias[:] = (last.bias - rows.mean(dim=0)) / rows.std(dim=0)
        answers = _answers(model, images).argmax(dim=1)
    return model, images.with_labels(answers.int().numpy(), CLASSES)


def _answers(model: nn.Module, images: ImageSet) -> torch.Tensor:
    return torch.cat([model(part) for part in torch.split(images.pixels, 16)])


def _megabytes() -> int:
    return round(peak() * 1024 / 1e6)


def child(words: Sequence[str]) -> None:
    """Print the measurement that the settings in `words` ask for, as one line of JSON."""
    print(json.dumps(measured(**json.loads(words[0]))))


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        child(sys.argv[1:])
    else:
        run(main, __doc__)
