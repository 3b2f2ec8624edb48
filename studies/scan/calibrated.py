"""How often detectors flag the victims of `calibrate` zoos, as written by `benchmarks/calibration.py`."""

from __future__ import annotations

from studies.scan.calibration import Calibration, Outcomes

SOURCES: tuple[str, ...] = ("families.jsonl",)
"""The files of `results/` with the lines that were counted."""

CALIBRATED: tuple[Calibration, ...] = (
    Calibration(
        detector="auto",
        settings="b4b54cf8d80646c93d98117c15fd30492ec50bf83b88f98b24b865222e256cf0",
        service="label",
        size=(32, 32),
        zoos=(
            "cifar10-clean-40-calibrate",
            "cifar10-families-calibrate",
            "gtsrb-clean-40-calibrate",
        ),
        backdoored=Outcomes(victims=12, flagged=11, clean=0),
        clean=Outcomes(victims=47, flagged=0, clean=47),
    ),
    Calibration(
        detector="auto",
        settings="ac815ad0410efc91ff1e3ae5517b4e56ec36e81d8ae5e82941a1bb459c989a91",
        service="scores",
        size=(32, 32),
        zoos=(
            "cifar10-clean-40-calibrate",
            "cifar10-families-calibrate",
            "gtsrb-clean-40-calibrate",
        ),
        backdoored=Outcomes(victims=12, flagged=12, clean=0),
        clean=Outcomes(victims=13, flagged=0, clean=12),
    ),
)
