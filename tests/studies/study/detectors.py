"""Detectors as small as they can be, and one that fails."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from simkit.detectors.access import ModelAccess, QueryAccess, QueryDataAccess, WeightAccess
from simkit.detectors.whitebox.inspection import Inspection
from simkit.errors import DataError
from simkit.verdict import Verdict

CLEAN = Verdict("clean", "decided", (), 0.25, (), None)


@dataclass(frozen=True)
class AsksOnce:
    """Asks about its images once; fails first where the file `fails` is there, after asking."""

    fails: str = ""

    def detect(self, access: QueryDataAccess) -> Verdict:
        access.oracle.query(access.images.pixels)
        if self.fails and Path(self.fails).exists():
            raise DataError("this detector fails")
        return CLEAN


@dataclass(frozen=True)
class AsksSlowly:
    """Asks one image after the other, for `seconds`."""

    seconds: float = 60.0

    def detect(self, access: QueryDataAccess) -> Verdict:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            access.oracle.query(access.images.pixels[:1])
            time.sleep(0.02)
        return CLEAN


@dataclass(frozen=True)
class Dies:
    """Takes its process with it; where it names a file, only until that is there."""

    until: str = ""

    def detect(self, access: QueryDataAccess) -> Verdict:
        access.oracle.query(access.images.pixels)
        if self.until and Path(self.until).exists():
            return CLEAN
        Path(self.until or os.devnull).touch()
        os._exit(3)


@dataclass(frozen=True)
class Imagines:
    def detect(self, access: QueryAccess) -> Verdict:
        return CLEAN


@dataclass(frozen=True)
class Looks:
    """A white box that says what it gets, and does not count."""

    def detect(self, access: WeightAccess) -> Verdict:
        weights = sum(parameter.numel() for parameter in access.model.parameters())
        return Verdict("clean", "decided", (), float(weights), (), None, f"{len(access.images)} images")


@dataclass(frozen=True)
class Counts:
    """A white box that counts."""

    def detect(self, access: WeightAccess) -> Verdict:
        return self.inspect(access).verdict

    def inspect(self, access: WeightAccess) -> Inspection:
        return Inspection(CLEAN, "quick", len(access.images), 3)


@dataclass(frozen=True)
class Alone:
    """A white box without data, which says the shape of the images."""

    def detect(self, access: ModelAccess) -> Verdict:
        assert list(access.model.parameters())
        return Verdict("clean", "decided", (), 0.25, (), None, str(access.image_shape))


@dataclass(frozen=True)
class Untyped:
    def detect(self, access):  # type: ignore[no-untyped-def]
        return CLEAN


ASKS, SLOW, FAILS, LOOKS, COUNTS = AsksOnce(), AsksSlowly(), AsksOnce("fail"), Looks(), Counts()
DIES, DIES_ONCE, ALONE = Dies(), Dies("died"), Alone()
HERE = "tests.studies.study.detectors"
