"""A study file of the demo's two victims, in milliseconds a scan."""

from __future__ import annotations

from pathlib import Path

from tests.studies.study.detectors import HERE

ASKS, LOOKS, FAILS = (f"{HERE}:{name}" for name in ("ASKS", "LOOKS", "FAILS"))

HEAD = """
name = "small"
split = "report"
budget = 2000
settings = {search_images = 32, verify_images = 32}
"""


def written(folder: Path, zoo: Path, *detectors: str, head: str = HEAD, more: str = "") -> Path:
    """The file, with these detectors. more: tables at its end."""
    zoos = f'[[zoos]]\nfolder = "{zoo}"\n'
    entries = "".join(f'[[detectors]]\nname = "{name}"\n' for name in detectors)
    path = folder / "study.toml"
    path.write_text(f"{head}\n{zoos}\n{entries}\n{more}")
    return path
