"""How often detectors flag the victims of `calibrate` zoos, as written by `benchmarks/calibration.py`."""

from __future__ import annotations

from studies.scan.calibration import Calibration, Outcomes

SOURCES: tuple[str, ...] = ("families.jsonl",)
"""The files of `results/` with the lines that were counted."""

CALIBRATED: tuple[Calibration, ...] = (
    Calibration(
        detector="auto",
        settings="9d66298732787c64845d9a1cf71a7eb2f3652fd3c73aa629272d992c14c95bbb",
        service="scores",
        size=(32, 32),
        zoos=(
            "cifar10-clean-40-calibrate",
            "cifar10-families-calibrate",
            "gtsrb-clean-40-calibrate",
        ),
        backdoored=Outcomes(victims=12, flagged=12, clean=0),
        clean=Outcomes(victims=47, flagged=1, clean=46),
    ),
    Calibration(
        detector="auto",
        settings="0a9fcf6ed12f7aad6ae87ec2c29cf3f47fa6b6394ebdf7807d07b34d6a7db001",
        service="label",
        size=(32, 32),
        zoos=(
            "cifar10-clean-40-calibrate",
            "cifar10-families-calibrate",
            "gtsrb-clean-40-calibrate",
        ),
        backdoored=Outcomes(victims=12, flagged=12, clean=0),
        clean=Outcomes(victims=47, flagged=0, clean=47),
    ),
)
