"""The benchmark of the environment, on two victims of the digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import env
from simkit.env.arms import Field
from simkit.env.recording import SUFFIX, recordings
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.env.record import Zoo, recorded_by
from studies.study.executors import Workers
from tests.simkit.env.planted import recorded
from tests.threads import one_torch_thread


def test_it_tells_steps_a_second(tmp_path: Path) -> None:
    recorded().save(tmp_path / f"one{SUFFIX}")
    out = tmp_path / "lines.jsonl"
    env.main(tmp_path, steps=50, out=out)
    told = json.loads(out.read_text())
    assert told["recordings"] == 1
    assert told["steps a second"] > 0
    assert told["steps a second by gymnasium.make"] > 0
    assert "pulls that agree" not in told


@pytest.mark.slow
def test_live_arms_agree_with_what_was_recorded_and_differ_from_what_was_not(tmp_path: Path) -> None:
    told = {"name": "tiny", "data": "digits", "split": "tune", "models": 1, "clean_share": 1.0, "train": {"epochs": 4}}
    manifest = make(ZooSpec.of(told), tmp_path / "zoo")
    arms = {"classes": {"steps": 20, "samples": 10}, "shared": {"queries": 300, "largest_share": 1 / 16}}
    settings = {"data": "digits", "search_images": 32, "verify_images": 32, "seed": 3}
    with one_torch_thread():
        list(recorded_by(Zoo(tmp_path / "zoo", "tiny", "tune", tmp_path, settings, arms), manifest.victims, Workers()))
        (kept,) = recordings(tmp_path)
        agree, compared = env.agreement([kept], tmp_path / "zoo", "digits")
        assert agree == compared == sum(len(rows) for rows in kept.arms)
        kept.arms[0][0, Field.SIZE] += 0.5
        assert env.agreement([kept], tmp_path / "zoo", "digits") == (agree - 1, compared)
