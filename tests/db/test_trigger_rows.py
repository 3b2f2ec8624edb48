"""The stored form of triggers of every family: what is written comes back, and what is no trigger is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from db import reads
from db.check import check
from db.errors import StorageError
from db.export import export
from db.ledger import Ledger
from db.merge import merge
from db.records import TriggerRow
from db.survey import survey
from db.trigger_rows import MOST_PARAMETERS, pack_trigger, unpack_trigger
from tests.db.conftest import MakeRun, MakeVerdict

FIELDS: dict[str, Any] = {"family": "wave", "image_shape": [3, 2, 4], "waves": [{"phase": 0.1}]}
MASK, PATTERN = np.full((1, 2, 4), 0.5, np.float32), np.zeros((3, 2, 4), np.float32)
PATCH = TriggerRow(0, MASK, PATTERN, 4.0, 0.5, 1, 2, False)


def wave(fields: dict[str, Any] = FIELDS, **changed: Any) -> TriggerRow:
    made = TriggerRow(1, None, None, 8.0, 0.5, 1, 2, False, "wave", json.dumps(fields), 24.5, "of 255")
    return replace(made, **changed)


@pytest.fixture
def stored(path: Path, make_run: MakeRun, make_verdict: MakeVerdict) -> Path:
    """A finished run with a patch for class 0 and a wave for class 1."""
    with Ledger.open(path) as ledger:
        ledger.begin(make_run()).finish(make_verdict(), [PATCH, wave()])
    return path


def assert_kept(kept: list[TriggerRow]) -> None:
    patch, other = kept
    assert (patch.family, patch.parameters, patch.strength, patch.unit) == ("patch", None, 4.0, "pixels")
    assert patch.mask is not None
    assert patch.mask.tobytes() == MASK.tobytes()
    assert vars(other) == vars(wave())


def test_triggers_of_two_families_come_back(stored: Path) -> None:
    assert check(stored) == []
    assert_kept(reads.triggers(stored, 1))
    (surveyed,) = survey(stored)
    assert_kept(list(surveyed.triggers))


def test_a_merged_ledger_has_the_same_triggers(stored: Path, tmp_path: Path) -> None:
    merge(tmp_path / "merged.db", [stored])
    assert_kept(reads.triggers(tmp_path / "merged.db", 1))
    assert check(tmp_path / "merged.db") == []


def test_the_export_has_every_form(stored: Path, tmp_path: Path) -> None:
    export(stored, tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "triggers.parquet")
    assert frame["family"].tolist() == ["patch", "wave"]
    assert frame["strength"].tolist() == [4.0, 24.5]
    assert frame["unit"].tolist() == ["pixels", "of 255"]
    assert frame["mask"][0].tolist() == MASK.ravel().tolist()
    assert frame["mask"][1] is None
    assert json.loads(frame["parameters"][1]) == FIELDS


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (wave(mask=MASK, pattern=PATTERN), "give a patch its mask and pattern"),
        (wave(parameters=None), "any other family its parameters"),
        (replace(PATCH, parameters=json.dumps(FIELDS)), "give a patch its mask and pattern"),
        (replace(PATCH, pattern=None), "give a patch its mask and pattern"),
        (wave(FIELDS | {"family": "warp"}), "not those of a wave"),
        (wave(parameters="[]"), "not those of a wave"),
        (wave(parameters="{"), "is not JSON"),
        (wave(parameters='{"a": NaN}'), "NaN is no JSON number"),
        (wave(parameters="[" * 100_000), "is not JSON"),
        (wave(FIELDS | {"image_shape": [3, 2]}), "need an `image_shape`"),
        (wave(FIELDS | {"image_shape": [3, 2, True]}), "need an `image_shape`"),
        (wave(FIELDS | {"image_shape": [3, 0, 4]}), "need an `image_shape`"),
        (wave(FIELDS | {"more": "x" * MOST_PARAMETERS}), "characters of parameters"),
        (wave(strength=-1.0), "strength -1.0"),
        (wave(strength=float("inf")), "strength inf"),
        (wave(family="", parameters="{}"), "a family or unit ''"),
        (wave(unit="a\x1b[2J"), "a family or unit"),
    ],
)
def test_what_is_no_trigger_is_not_written(row: TriggerRow, words: str) -> None:
    with pytest.raises(StorageError, match=r"^trigger [01]: ") as found:
        pack_trigger(row)
    assert words in str(found.value)


HOSTILE = [
    ("parameters = replace(parameters, '\"wave\"', '\"warp\"')", "not those of a wave"),
    ('parameters = \'{"family": "wave"}\'', "need an `image_shape`"),
    ("width = 5", "but its form is of another shape"),
    ("unit = char(27) || 'x'", "a family or unit"),
    ("strength = 9e999", "strength inf"),
]


@pytest.mark.parametrize(("change", "words"), HOSTILE)
def test_a_strangers_trigger_is_refused_in_one_line_and_found_by_the_check(
    stored: Path, change: str, words: str
) -> None:
    raw = sqlite3.connect(stored)
    raw.execute(f"UPDATE triggers SET {change} WHERE target_class = 1")
    raw.commit()
    raw.close()
    read: list[Callable[[], object]] = [lambda: reads.triggers(stored, 1), lambda: list(survey(stored))]
    for attempt in read:
        with pytest.raises(StorageError) as found:
            attempt()
        assert words in str(found.value)
        assert "\n" not in str(found.value)
    assert any(words in mismatch for mismatch in check(stored))


def test_the_strength_of_a_patch_is_checked_against_its_mask(stored: Path) -> None:
    raw = sqlite3.connect(stored)
    raw.execute("UPDATE triggers SET strength = 9 WHERE target_class = 0")
    raw.commit()
    raw.close()
    assert "run 1, class 0: strength 9, the mask sums to 4" in check(stored)


def test_a_row_of_an_older_schema_is_a_patch() -> None:
    row = dict(zip(("target_class", "family", *"chw"), (0, None, 3, 2, 4), strict=True))
    older = [*row.values(), MASK.tobytes(), PATTERN.tobytes(), None, 4.0, None, None, 0.5, 1, 2, 0]
    assert_kept([unpack_trigger(older), wave()])
