"""The overhead of simkit as ratios measured in one run on one machine, since absolute times cannot be compared."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from db.ledger import Ledger
from db.records import RunInfo
from oracles.budget import Budget
from oracles.oracle import Oracle, Tag
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from simkit.data import ImageSet, load
from simkit.seeding import stream
from simkit.zoo.networks import build_network
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.run import run_scan

_EAGER_BATCH = 512
_CALL = 100
"""Queries per call, as many as the preset `b3d` sends."""


@dataclass(frozen=True)
class Bench:
    """How long to measure.

    images: number of images per measurement. pairs: number of interleaved measurements of both sides, so that both see
    the same load. scan_steps: steps of B3D per class. recorded: number of recorded queries, whose memory is compared
    with that of a tenth of them.
    """

    images: int = 4096
    pairs: int = 5
    scan_steps: int = 20
    recorded: int = 1_000_000


QUICK = Bench(images=1024, pairs=3, scan_steps=6, recorded=100_000)


@dataclass(frozen=True)
class Measured:
    """One ratio and its bar. at_least: whether the ratio should be at least the bar, otherwise at most."""

    name: str
    ratio: float
    bar: float
    at_least: bool
    detail: str

    @property
    def passed(self) -> bool:
        return self.ratio >= self.bar if self.at_least else self.ratio <= self.bar

    def row(self) -> dict[str, object]:
        """The ratio as a row of a table or as JSON."""
        sign = ">=" if self.at_least else "<="
        result = "pass" if self.passed else "miss"
        return {"what": self.name, "ratio": round(self.ratio, 3), "bar": f"{sign} {self.bar:g}", "result": result} | {
            "detail": self.detail
        }


COLUMNS = ("what", "ratio", "bar", "result", "detail")


def bench(config: Bench, data: str | None) -> Iterator[Measured]:
    """Yield each ratio as it is measured, on a conv4 network with random weights.

    data: the data set of the test images; None means random images of 3x32x32 in 10 classes. Raises DataError.
    """
    images = _random_images() if data is None else load(data, "test", 512)
    net = build_network("conv4", images.image_shape, images.n_classes, seed=0).eval()
    images = _labelled(net, images)
    batch = images.pixels.repeat(-(-config.images // len(images)), 1, 1, 1)[: config.images].contiguous()
    bare = TorchOracle(net, images.image_shape)
    half = TorchOracle(net, images.image_shape, TorchOptions(precision="bfloat16"))
    eager = _eager(net, batch)
    yield _faster("oracle / eager float32", _asking(bare, batch, _EAGER_BATCH), eager, (config, 4.0))
    yield _faster("oracle bfloat16 / eager float32", _asking(half, batch, _EAGER_BATCH), eager, (config, 4.0))
    with tempfile.TemporaryDirectory(prefix="simkit-bench-") as folder:
        with Ledger.open(Path(folder) / "recorded.db") as ledger:
            recorded = _recording(ledger, bare, batch)
            yield _faster("metered and recorded / bare", recorded, _asking(bare, batch, _CALL), (config, 0.9))
        yield _whole_scan(config, net, images, Path(folder))
    yield _memory(config)


def _faster(
    name: str, tested: Callable[[], None], reference: Callable[[], None], asked: tuple[Bench, float]
) -> Measured:
    """The speed of `tested` divided by that of `reference` on the same images, as the median over interleaved pairs."""
    config, bar = asked
    for warm_up in (tested, reference):
        warm_up()
    pairs = [(_seconds(tested), _seconds(reference)) for _ in range(config.pairs)]
    rates = [config.images / statistics.median(seconds) for seconds in zip(*pairs, strict=True)]
    detail = f"{rates[0]:,.0f} and {rates[1]:,.0f} images/s"
    return Measured(name, statistics.median(b / a for a, b in pairs), bar, True, detail)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _eager(net: nn.Module, batch: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            for part in torch.split(batch, _EAGER_BATCH):
                net(part)

    return run


def _asking(oracle: Oracle, batch: torch.Tensor, call: int) -> Callable[[], None]:
    def run() -> None:
        for part in torch.split(batch, call):
            oracle.query(part)

    return run


def _recording(ledger: Ledger, bare: Oracle, batch: torch.Tensor) -> Callable[[], None]:
    run = ledger.begin(RunInfo("0" * 64, "conv4", "0", "random", "0", "{}", "{}", 0, None, "{}"))
    oracle = build(OracleSpec(), bare, Budget(None), run)
    parts = torch.split(batch, _CALL)
    steps = iter(range(10**9))

    def record() -> None:
        for part in parts:
            step = run.open_step(next(steps), "search", "{}")
            oracle.query(part, Tag(step, np.zeros((len(part), 2), np.int32)))

    return record


def _whole_scan(config: Bench, net: nn.Module, images: ImageSet, folder: Path) -> Measured:
    """Queries per second of a B3D scan with its ledger, divided by those of the bare oracle in calls of equal size."""
    settings = {"preset": "b3d", "search": {"steps": config.scan_steps}}
    prepared = prepare(net, ScanConfig.of(settings), images)
    pairs = []
    for number in range(config.pairs):
        started = time.perf_counter()
        result = run_scan(prepared, folder / f"scan{number}.db", folder / "triggers")
        scanned = result.spent / (time.perf_counter() - started)
        batch = images.pixels.repeat(-(-result.spent // len(images)), 1, 1, 1)[: result.spent]
        pairs.append((scanned, result.spent / _seconds(_asking(prepared.model.oracle, batch, _CALL))))
    ratio = statistics.median(a / b for a, b in pairs)
    rates = [statistics.median(rates) for rates in zip(*pairs, strict=True)]
    detail = f"{rates[0]:,.0f} and {rates[1]:,.0f} images/s over {result.spent:,} queries"
    return Measured("whole B3D scan / bare", ratio, 0.6, True, detail)


def _memory(config: Bench) -> Measured:
    """Peak memory of a process that records many queries, divided by that of one that records a tenth of them."""
    few, many = (_peak_of(queries) for queries in (config.recorded // 10, config.recorded))
    detail = f"{many / 1024:,.0f} and {few / 1024:,.0f} MiB"
    name = f"memory at {config.recorded:,} / {config.recorded // 10:,} queries"
    return Measured(name, many / few, 1.1, False, detail)


def _peak_of(queries: int) -> int:
    """Peak memory in KiB of a process of its own, since a process does not return memory that it once took."""
    done = subprocess.run(
        [sys.executable, "-m", "studies.cli.bench_memory", str(queries)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def _random_images() -> ImageSet:
    pixels = stream(0, "bench").random((512, 3, 32, 32), dtype=np.float32)
    names = tuple(str(c) for c in range(10))
    return ImageSet(torch.from_numpy(pixels), np.zeros(512, np.int32), names, "random")


def _labelled(net: nn.Module, images: ImageSet) -> ImageSet:
    """The images with the net's own answers as labels, which spread over the classes, as if the net were trained."""
    with torch.inference_mode():
        logits = net(images.pixels)
        list(net.parameters())[-1].sub_(logits.mean(dim=0))
        labels = net(images.pixels).argmax(dim=1).numpy().astype(np.int32)
    return ImageSet(images.pixels, labels, images.classes, images.name)
