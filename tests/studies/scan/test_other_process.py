"""A victim in another process, which hands over answers and nothing else: every black box says the same of it."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles.answers import Answer, Scores
from oracles.oracle import ImageShape, Tag
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from simkit.detectors.blackbox.aeva import Aeva
from simkit.detectors.blackbox.boundary import WalkConfig
from simkit.detectors.blackbox.k_arm import KArm
from simkit.detectors.blackbox.label_noise import LabelNoise
from studies.scan import ScanResult, detect, scan
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet, arrays, told

COUNTS: dict[str, Any] = {"name": "victim", "images": IMAGES, "search_images": 64, "verify_images": 48}

Say = Callable[[Any], ScanResult]


def b3d(model: Any) -> ScanResult:
    """With fewer steps than a search takes that leaves masks of four pixels; so the rule asks for less."""
    search = {"samples": 100, "steps": 60, "learning_rate": 0.2, "check_every": 10}
    return scan(model, preset="b3d", search=search, rule={"threshold": 0.7}, refine=0, **COUNTS)


def b3d_by_labels(model: Any) -> ScanResult:
    return scan(model, budget=4_000, oracle="label", **COUNTS)


def random_patches(model: Any) -> ScanResult:
    return scan(model, oracle="noisy", **(COUNTS | SETTINGS))


def label_noise(model: Any) -> ScanResult:
    return detect(LabelNoise(copies=64), model, **COUNTS)


def annealing(model: Any) -> ScanResult:
    return scan(model, preset="annealing", search={"draws": 10, "steps": 10, "chains": 1}, **COUNTS)


def aeva(model: Any) -> ScanResult:
    return detect(Aeva(source_classes=1, walk=WalkConfig(rounds=2, samples=10)), model, **COUNTS)


def k_arm(model: Any) -> ScanResult:
    return detect(KArm(), model, **COUNTS)


def b3d_without_data(model: Any) -> ScanResult:
    return scan(model, preset="b3d-ss", budget=4_000, name="victim", search_images=32, verify_images=16)


class Remote:
    """An oracle that is a pipe: images go in, scores come out."""

    n_classes = 4
    image_shape: ImageShape = (1, 12, 12)

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.queries = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        self.queries += len(images)
        self._pipe.send(images.numpy())
        return Scores(self._pipe.recv())


def victim(weights: Path) -> TorchOracle:
    net = TemplateNet()
    net.load_state_dict(torch.load(weights, weights_only=True))
    return TorchOracle(net, Remote.image_shape, TorchOptions(output="logits"))  # stated, so that it guesses nothing


def serve(pipe: Connection, weights: Path) -> None:
    """What the other process does: read the weights, say so, answer until nobody asks."""
    torch.set_num_threads(1)
    oracle = victim(weights)
    pipe.send("ready")
    while (images := pipe.recv()) is not None:
        answer = oracle.query(torch.from_numpy(images))
        assert isinstance(answer, Scores)
        pipe.send(answer.values)


@contextmanager
def served(weights: Path) -> Iterator[Remote]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, weights), daemon=True)
    process.start()
    try:
        assert here.recv() == "ready"
        weights.unlink()  # so that nobody here can read them
        yield Remote(here)
        here.send(None)
        process.join(60)
    finally:
        process.kill()


@pytest.mark.process
@pytest.mark.parametrize(("target", "verdict"), [(None, "clean"), (2, "backdoored")])
def test_a_black_box_says_the_same_of_a_victim_in_another_process(
    target: int | None, verdict: str, tmp_path: Path
) -> None:
    weights, only = tmp_path / "victim.pt", tmp_path / "only.pt"
    torch.save(TemplateNet(target).state_dict(), weights)
    says: tuple[Say, ...] = (b3d, b3d_by_labels, random_patches, label_noise, annealing, aeva, k_arm, b3d_without_data)
    with served(Path(shutil.copy(weights, only))) as remote:
        there = [say(remote) for say in says]
    assert [there[0].verdict, there[2].verdict] == [verdict, verdict]
    assert min(result.spent for result in there) > 100
    assert remote.queries == sum(result.spent for result in there)
    here = [say(victim(weights)) for say in says]
    assert [told(result) for result in there] == [told(result) for result in here]
    assert [arrays(result) for result in there] == [arrays(result) for result in here]
