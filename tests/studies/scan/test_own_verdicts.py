"""Detectors of one's own that answer nonsense: one line that names the detector, and no verdict is stored."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import check
from simkit.detectors.access import QueryDataAccess
from simkit.errors import ContractError
from simkit.verdict import ClassResult, Verdict
from studies.scan import detect
from tests.fakes import corner_plant
from tests.studies.scans import IMAGES, TemplateNet

COUNTS: dict[str, Any] = {"search_images": 56, "verify_images": 56}
CLEAN = Verdict("clean", "decided", (), 0.5, (), None)
FOUND = ClassResult(1, corner_plant(0).trigger, 4.0, 1.0, censored=False, trials=4)
FLAGS = replace(CLEAN, verdict="backdoored", flagged=(1,), classes=(FOUND,))


@dataclass(frozen=True, eq=False)
class Other:
    """A trigger of which only the shape is asked."""

    image_shape: tuple[int, int, int] = (3, 32, 32)


@dataclass(frozen=True)
class Own:
    """Asks once and answers what `SAID` makes of its name."""

    said: str

    def detect(self, access: QueryDataAccess) -> Any:
        access.oracle.query(access.images.pixels[:2])
        return SAID[self.said]()


def _fails() -> Verdict:
    raise KeyError("layer4")


def _with(found: ClassResult, **values: Any) -> Callable[[], Verdict]:
    return lambda: replace(FLAGS, classes=(replace(found, **values),))


SAID: dict[str, Callable[[], object]] = {
    "returned NoneType; return a Verdict": lambda: None,
    "returned str; return a Verdict": lambda: "backdoored",
    "failed: KeyError: 'layer4'; SIMKIT_DEBUG=1 shows the traceback": _fails,
    "class 1 is flagged 2 times; name each class once": lambda: replace(FLAGS, flagged=(1, 1)),
    "class 4 is flagged, but the classes are 0 to 3": lambda: replace(FLAGS, flagged=(4,)),
    "class 1.5 is flagged, but the classes are 0 to 3": lambda: replace(FLAGS, flagged=(1.5,)),  # type: ignore[arg-type]
    "class 1 has a result 2 times; name each class once": lambda: replace(FLAGS, classes=(FOUND, FOUND)),
    "class 7 has a result, but the classes are 0 to 3": _with(FOUND, target_class=7),
    "class 1: is flagged, but its result is censored, which says that no trigger worked; do either": _with(
        FOUND, censored=True
    ),
    "class [1] is flagged, but the classes are 0 to 3": lambda: replace(FLAGS, flagged=([1],)),  # type: ignore[arg-type]
    f"a score of {10**400}; give a finite number, or None for none": lambda: replace(CLEAN, score=10**400),
    "class 1: its trigger is for images 12, but the images are (1, 12, 12)": _with(FOUND, trigger=Other(12)),  # type: ignore[arg-type]
    "a score of nan; give a finite number, or None for none": lambda: replace(CLEAN, score=math.nan),
    "a score of inf; give a finite number, or None for none": lambda: replace(CLEAN, score=math.inf),
    "stopped is 'done'; choose from decided, budget, converged, refused": lambda: replace(CLEAN, stopped="done"),  # type: ignore[arg-type]
    "verdict is 'dirty'; choose from backdoored, clean, undecided, invalid": lambda: replace(CLEAN, verdict="dirty"),  # type: ignore[arg-type]
    "class 1: a success rate of 1.5; give a share from 0 to 1, or None": _with(FOUND, success_rate=1.5, trials=2),
    "class 1: a success rate of nan; give a share from 0 to 1, or None": _with(FOUND, success_rate=math.nan),
    "class 1: a success rate of 0.3 in 4 trials is 1.2 hits; give the number of trials behind the rate": _with(
        FOUND, success_rate=0.3
    ),
    "class 1: a success rate of 0.97805 in 123 trials is 120.3 hits; give the number of trials behind the rate": _with(
        FOUND, success_rate=0.97805, trials=123
    ),
    "class 1: a success rate of 0.24999 in 4 trials is 0.99996 hits; give the number of trials behind the rate": _with(
        FOUND, success_rate=0.24999
    ),
    "class 1: -1 trials; give the number of unseen images, or 0": _with(FOUND, trials=-1),
    "class 1: a mask size of nan; give the pixels that the trigger changes": _with(FOUND, mask_size=math.nan),
    "class 1: its trigger is for images (3, 32, 32), but the images are (1, 12, 12)": _with(FOUND, trigger=Other()),
    "a clean accuracy of 86; give a share from 0 to 1, or None": lambda: replace(CLEAN, clean_accuracy=86),
    "class 1: its trigger is NoneType; give a Trigger, a Wave or another transform": _with(FOUND, trigger=None),
    "flagged is None; give a tuple": lambda: replace(CLEAN, flagged=None),  # type: ignore[arg-type]
    "its notes are NoneType; give text": lambda: replace(CLEAN, notes=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("said", SAID)
def test_nonsense_is_one_line_that_names_the_detector(said: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError) as error:
        detect(Own(said), TemplateNet(), images=IMAGES, db=tmp_path / "own.db", **COUNTS)
    assert str(error.value).replace("Own: ", "Own ", 1) == f"{__name__}.Own {said}"
    with sqlite3.connect(tmp_path / "own.db") as ledger:
        stored = "SELECT state, (SELECT sum(charged) FROM calls), (SELECT count(*) FROM verdicts) FROM runs"
        assert ledger.execute(stored).fetchall() == [("open", 2, 0)]
    assert check.check(tmp_path / "own.db") == []


@pytest.mark.parametrize("hits", [96, 82, 1, 122])
def test_a_rate_of_single_precision_is_one_of_whole_hits(hits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = float(np.float32(hits) / np.float32(123))
    monkeypatch.setitem(SAID, "sound", lambda: replace(FLAGS, classes=(replace(FOUND, success_rate=rate, trials=123),)))
    assert detect(Own("sound"), TemplateNet(), images=IMAGES, **COUNTS).verdict == "backdoored"


def test_a_sound_verdict_of_numpy_numbers_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: dict[str, Any] = {"target_class": np.int64(1), "mask_size": np.float32(4), "trials": np.int32(4)}
    said: dict[str, Any] = {"flagged": (np.int64(1),), "score": np.float32(0.5)}
    flags = replace(FLAGS, classes=(replace(FOUND, **numbers),), **said)
    monkeypatch.setitem(SAID, "sound", lambda: flags)
    result = detect(Own("sound"), TemplateNet(), images=IMAGES, **COUNTS)
    assert (result.verdict, result.flagged, result.score) == ("backdoored", (1,), 0.5)
