"""Study files that tune on the demo's two victims, in a fraction of a second a trial."""

from __future__ import annotations

import shutil
from pathlib import Path

from simkit.zoo.manifest import Manifest

TUNE = """
[tune]
detector = "random-patch"
trials = 4
startup = 2
settings = { search = { rounds = 12 }, driver = { first_look = 6 } }

[tune.space.search]
largest_side = { low = 2, high = 4 }
required_success = { low = 0.6, high = 0.95 }
"""

HEAD = """
name = "small"
split = "tune"
budget = 600
seeds = [0, 1]
settings = { search_images = 32, verify_images = 32, driver = { check_images = 16 } }
"""


def tune_zoo(demo: Path, folder: Path) -> Path:
    """The zoo of the demo as one of split `tune`."""
    shutil.copytree(demo / "zoo", folder / "zoo")
    manifest = Manifest.load(folder / "zoo")
    manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"split": "tune"})}).save(folder / "zoo")
    return folder / "zoo"


def written(folder: Path, *, head: str = HEAD, tune: str = TUNE) -> Path:
    """A study file beside the folder `zoo`."""
    path = folder / "study.toml"
    path.write_text(f'{head}\n[[zoos]]\nfolder = "zoo"\n{tune}')
    return path
