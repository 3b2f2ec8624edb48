"""What is left to be scanned."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest
from simkit.zoo.zoo import missing
from studies.study.plan import chosen
from studies.study.unit import scan_unit
from tests.studies.study.detectors import HERE
from tests.studies.study.studies import study_of, units


@pytest.fixture
def manifest(demo_victims: Path) -> Manifest:
    """With five victims, not in the order of their indices."""
    two = Manifest.load(demo_victims / "zoo")
    victims = tuple(two.victims[0].model_copy(update={"index": index}) for index in (7, 0, 1, 3, 12))
    return two.model_copy(update={"victims": victims, "spec": two.spec.model_copy(update={"models": 5})})


@pytest.mark.parametrize(
    ("indices", "limit", "expected"),
    [
        (None, None, [0, 1, 3, 7, 12]),
        (None, 3, [0, 1, 3]),
        (None, 9, [0, 1, 3, 7, 12]),
        ("1-7", None, [1, 3, 7]),
        ("12, 0-1,5", None, [0, 1, 12]),
        ("1-99", 3, [1, 3]),
        ("0-9999999999", None, [0, 1, 3, 7, 12]),
        ("3-999999999999999999,0", None, [0, 3, 7, 12]),
    ],
)
def test_victims_are_chosen_by_index(
    manifest: Manifest, indices: str | None, limit: int | None, expected: list[int]
) -> None:
    assert [victim.index for victim in chosen(manifest, indices, limit)] == expected


def test_the_first_of_a_zoo_in_the_making_are_those_of_the_zoo_when_it_is_made(demo_victims: Path) -> None:
    two = Manifest.load(demo_victims / "zoo")
    spec = two.spec.model_copy(update={"models": 8, "clean_share": 0.25})
    order = missing(spec, {})
    made = [two.victims[0].model_copy(update={"index": i, "stratum": spec.stratum(i)}) for i in order]
    so_far = two.model_copy(update={"spec": spec, "victims": tuple(made[i] for i in (0, 2, 5))})
    assert [victim.index for victim in chosen(so_far, limit=3)] == [order[0], order[2]]
    assert [victim.index for victim in chosen(so_far)] == [order[0], order[2], order[5]]


@pytest.mark.parametrize(
    ("indices", "said"), [("2", "it has 0, 1, 3, 7, 12"), ("a", "write numbers"), ("", "write"), ("9" * 5000, "write")]
)
def test_no_such_victims_are_told(manifest: Manifest, indices: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        chosen(manifest, indices)


def test_units_come_victim_by_victim(demo_victims: Path, tmp_path: Path) -> None:
    todo = units(study_of(demo_victims / "zoo", tmp_path), "random-patch", "b3d-slides")
    told = [(unit.victim.index, unit.detector) for unit in todo]
    assert told == [(0, "random-patch"), (0, "b3d-slides"), (1, "random-patch"), (1, "b3d-slides")]
    assert len({unit.key for unit in todo}) == len({unit.stem for unit in todo}) == 4


def test_one_file_holds_no_scans_of_other_images(demo_victims: Path, tmp_path: Path) -> None:
    study = study_of(demo_victims / "zoo", tmp_path)
    done, other = units(study, f"{HERE}:ASKS")
    line = scan_unit(done).line
    assert line is not None
    text = study.out.read_text()
    study.out.write_text(text.replace(line.data_hash, "f" * 64))
    with pytest.raises(ConfigError, match="on victim 0 with other images"):
        units(study, f"{HERE}:ASKS")
    study.out.write_text(text)
    assert units(study, f"{HERE}:ASKS") == (other,)


def test_a_victim_that_was_made_again_is_another(demo_victims: Path, tmp_path: Path) -> None:
    study = study_of(demo_victims / "zoo", tmp_path)
    line = scan_unit(units(study, f"{HERE}:ASKS")[0]).line
    assert line is not None
    study.out.write_text(study.out.read_text().replace(line.model_hash, "f" * 64))
    assert len(units(study, f"{HERE}:ASKS")) == 2
