"""Scans of functions that answer labels only."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db import reads
from db.check import check
from oracles.errors import InvalidSpec, ModelError
from simkit.detectors.blackbox.k_arm import KArm
from simkit.detectors.blackbox.label_noise import LabelNoise
from simkit.detectors.registry import DETECTORS
from studies.replay.ask_again import AskAgain, replay
from studies.scan.black_box import detect
from studies.scan.config import ScanConfig
from tests.studies.replay.test_ask_again import GIVEN
from tests.studies.scans import IMAGES, TemplateNet, arrays, scanned, told


class Ranked:
    """The best `k` classes of a backdoored network, the best first, without scores; None for one label per image."""

    def __init__(self, k: int | None) -> None:
        self.net, self.k = TemplateNet(target=1), k

    def __call__(self, images: Any) -> Any:
        with torch.inference_mode():
            ranked = self.net(torch.from_numpy(images)).topk(self.k or 1).indices.numpy()
        return ranked if self.k else ranked[:, 0].tolist()


def scores(images: Any) -> Any:
    with torch.inference_mode():
        return TemplateNet(target=1)(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("preset", ["random-patch", "race"])
@pytest.mark.parametrize("k", [None, 1, 3])
def test_labels_are_scanned_as_scores_behind_a_label_only_service(k: int | None, preset: str, tmp_path: Path) -> None:
    wants: dict[str, Any] = {"budget": 600, "preset": preset, "name": "labels", "search": {}, "driver": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the race warns of images that are small
        expected = scanned(scores, oracle="label", **wants)
        result = scanned(Ranked(k), output="labels", db=tmp_path / "scan.db", **wants)
    assert told(result) == told(expected)
    assert arrays(result) == arrays(expected)
    assert reads.queries(tmp_path / "scan.db")["score"].isna().all()
    assert check(tmp_path / "scan.db") == []


def test_the_ledger_says_that_the_service_is_label_only_and_replays(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = scanned(Ranked(3), output="labels", oracle={"quantized": True}, budget=300, name="ranked", db=db)
    assert '"label_only": true' in reads.runs(db)["oracle"][0]
    assert scanned(Ranked(3), output="labels", oracle={"quantized": True}, budget=300, name="ranked", db=db) == result
    again = replay(db, None, AskAgain(Ranked(3)), GIVEN)
    assert (again.holds, again.compared.queries) == (True, result.spent)


def test_label_only_and_labels_are_the_same_settings() -> None:
    assert ScanConfig.of({"output": "labels", "oracle": "label"}) == ScanConfig.of({"output": "labels"})
    assert ScanConfig.of({"output": "labels", "oracle": {"seed": 3}}).oracle.label_only
    assert not ScanConfig.of({"output": "logits"}).oracle.label_only


@pytest.mark.parametrize("oracle", ["top2", "noisy", {"decimals": 2}, {"threshold": 0.1}], ids=str)
def test_a_service_of_scores_is_refused_before_any_query(oracle: Any) -> None:
    function = Ranked(None)
    with pytest.raises(InvalidSpec, match="is about scores, and the function answers labels"):
        scanned(function, output="labels", oracle=oracle, budget=100)
    assert function.net.seen.images == 0


def test_a_module_is_refused_before_any_query() -> None:
    net = TemplateNet()
    with pytest.raises(InvalidSpec, match="output='labels' is for a function"):
        scanned(net, output="labels", budget=100)
    assert net.seen.images == 0


def test_labels_without_the_option_end_the_scan_unpaid(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="set output='labels'"):
        scanned(lambda images: np.zeros(len(images), int), budget=100, name="labels", db=tmp_path / "scan.db")
    assert not (tmp_path / "scan.db").exists()


def test_a_detector_that_needs_more_than_labels_says_so_first() -> None:
    wants: dict[str, Any] = {"images": IMAGES, "search_images": 32, "verify_images": 16, "budget": 500}
    with pytest.warns(UserWarning, match="k-arm cannot decide behind a label-only service"):
        result = detect(KArm(), Ranked(None), output="labels", **wants)
    assert (result.verdict, result.spent) == ("undecided", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detect(LabelNoise(), Ranked(None), output="labels", **wants)
        detect(KArm(), scores, **wants)
    assert [name for name, entry in DETECTORS.items() if not entry.labels] == ["k-arm"]
