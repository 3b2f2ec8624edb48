"""How often detectors flag the victims of `calibrate` zoos, as written by `benchmarks/calibration.py`."""

from __future__ import annotations

from studies.scan.calibration import Calibration

SOURCES: tuple[str, ...] = ()
"""The files of `results/` with the lines that were counted."""

CALIBRATED: tuple[Calibration, ...] = ()
