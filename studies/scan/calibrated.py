"""How often detectors flag the victims of `calibrate` zoos, as written by `benchmarks/calibration.py`."""

from __future__ import annotations

from studies.scan.calibration import Calibration, Outcomes

SOURCES: tuple[str, ...] = ("families.jsonl",)
"""The files of `results/` with the lines that were counted."""

CALIBRATED: tuple[Calibration, ...] = (
    Calibration(
        detector="auto",
        settings="aac1fb8207cda7265b1ad0984d23f636c96cd4f79ed18ad406084f2158ca15a2",
        service="scores",
        size=(32, 32),
        zoos=(
            "cifar10-clean-40-calibrate",
            "cifar10-families-calibrate",
            "gtsrb-clean-40-calibrate",
        ),
        backdoored=Outcomes(victims=12, flagged=11, clean=1),
        clean=Outcomes(victims=47, flagged=0, clean=47),
    ),
    Calibration(
        detector="auto",
        settings="21f7aa10a8a75d5f5a12dd792fafaed7387349a677f92997302d8ffc01af15ef",
        service="label",
        size=(32, 32),
        zoos=(
            "cifar10-clean-40-calibrate",
            "cifar10-families-calibrate",
            "gtsrb-clean-40-calibrate",
        ),
        backdoored=Outcomes(victims=12, flagged=9, clean=3),
        clean=Outcomes(victims=47, flagged=0, clean=47),
    ),
)
