"""Every example runs as the script that it is, and comes to the verdicts that its page tells."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PRINTED = {
    "allocation": ("PPO: ", "race-first: ", "uniform: "),
    "attack": ("attack success rate (ASR) 100.0%", "the scan says: clean []", "victim 1: class 9 becomes 4"),
    "detector": ("clean: clean []", "backdoored: backdoored [3]", "run 2: 1,200 external queries"),
    "family": ("clean: clean [] after ", "backdoored: backdoored [3] after ", "class 3: a ramp of "),
    "other_attacks": ("HopSkipJump: 1000 queries (1000 charged), budget", "SimBA: "),
    "restriction": ("None: backdoored [3]", "Steps(width=0.2, wobble=0.02, seed=0): backdoored [3]"),
    "searcher": ("clean: clean []", "backdoored: backdoored [3]"),
    "served_model": ("backdoored [3]", "it would have cost"),
}

NEEDS = {"other_attacks": "art"}
"""Modules that an example needs and that simkit does not install; without them it is skipped."""


@pytest.mark.parametrize("name", PRINTED)
def test_it_runs_and_says_what_its_page_says(name: str, tmp_path: Path) -> None:
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    script = str(ROOT / "examples" / f"{name}.py")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in PRINTED[name]:
        assert line in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", PRINTED)
def test_the_gallery_shows_it_with_what_it_prints(name: str) -> None:
    gallery = (ROOT / "docs" / "examples.md").read_text()
    _, found, section = gallery.partition(f"\n`{name}.py`")
    assert found
    shown = section.split("```")[1]
    for line in PRINTED[name]:
        assert line in shown


def test_every_example_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == PRINTED.keys()
