"""The benchmark of memory runs whole scans in processes of their own, and what it measures is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import memory
from simkit.data import load


@pytest.mark.process
def test_a_scan_in_a_process_of_its_own_has_its_peaks(tmp_path: Path) -> None:
    out, folder = tmp_path / "results" / "memory.jsonl", tmp_path / "digits"
    folder.mkdir()
    for number, image in enumerate(load("digits", "test", 64).array[:, 0]):
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / f"{number}.png")
    memory.main(str(folder), 24, images=48, budget=200, preset=["race"], out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert (line["data"], line["size"], line["images"], line["budget"]) == ("digits", 24, 48, 200)
    known, asked = line["scans"]
    assert [(row["preset"], row["labels"]) for row in (known, asked)] == [("race", True), ("race", False)]
    for row in (known, asked):
        assert 0 < row["queries"] <= 200
        assert 50 < row["imported"] <= row["loaded"] <= row["peak"] < 2_000


def test_the_model_answers_many_classes_and_its_answers_are_the_labels() -> None:
    model, images = memory.labelled(load("digits", "test", 64))
    with torch.no_grad():
        answers = model(images.pixels).argmax(dim=1)
    assert np.array_equal(answers.numpy(), images.labels)
    assert len(set(images.labels.tolist())) >= 4
