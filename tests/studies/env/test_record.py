"""Recording a zoo: a file a victim, honest counts, and that the same command goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from oracles.errors import InvalidSpec
from simkit.env.arms import Field
from simkit.env.episode import LiveVictim
from simkit.env.recording import Recording, recordings
from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest, Victim
from studies.env.record import OpenedVictim, Zoo, path_of, record_victim, recorded_by
from studies.study.executors import Workers

ARMS: dict[str, Any] = {
    "classes": {"steps": 20, "samples": 20, "grid": 8, "check_images": 10},
    "shared": {"queries": 300, "first": 40, "largest_share": 1 / 16},
    "check_images": 16,
}
"""Far too little to find everything, and done in a second."""

IMAGES: dict[str, Any] = {"data": "digits", "search_images": 32, "verify_images": 32}


def zoo_in(folder: Path, out: Path, arms: dict[str, Any] | None = None, **settings: Any) -> Zoo:
    spec = Manifest.load(folder).spec
    return Zoo(folder, spec.name, spec.split, out, IMAGES | settings, ARMS | (arms or {}))


@pytest.mark.process
def test_victims_are_recorded_once_whoever_does_it(demo_victims: Path, tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    victims = Manifest.load(demo_victims / "zoo").victims
    for workers, folder in enumerate(folders, start=1):
        folder.mkdir()
        zoo = zoo_in(demo_victims / "zoo", folder)
        assert {o.state for o in recorded_by(zoo, victims, Workers(workers))} == {"recorded"}
        before = {path: path.read_bytes() for path in folder.iterdir()}
        again = list(recorded_by(zoo, victims, Workers()))
        assert {o.state for o in again} == {"there"}
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    alone, together = map(recordings, folders)
    for one, other in zip(alone, together, strict=True):
        assert one.header == other.header
        assert all(
            np.array_equal(a, b) for a, b in zip((*one.arms, one.gains), (*other.arms, other.gains), strict=True)
        )
    assert [r.header.truth for r in alone] == [v.truth for v in victims]


def test_the_file_has_what_a_live_victim_does_and_what_it_was_charged(demo_victims: Path, tmp_path: Path) -> None:
    zoo, victim = zoo_in(demo_victims / "zoo", tmp_path), Manifest.load(demo_victims / "zoo").victims[1]
    told = record_victim(zoo, victim)
    kept = Recording.load(path_of(zoo, victim, seed=0))
    live = LiveVictim("one", OpenedVictim.of(zoo, victim).bench, backdoored=True).begin()
    replayed, over = kept.begin(), set()
    for arm in (10, 3, 10, 0, 3):
        if arm not in over:
            row = live.pull(arm).row
            assert np.array_equal(row, replayed.pull(arm).row)
            over |= {arm} if row[Field.OVER] else set()
    assert told.queries == kept.queries


def test_other_settings_want_another_folder(demo_victims: Path, tmp_path: Path) -> None:
    victim = Manifest.load(demo_victims / "zoo").victims[0]
    zoo, other = (zoo_in(demo_victims / "zoo", tmp_path, {"batch": batch}) for batch in (8, 4))
    assert record_victim(zoo, victim).state == "recorded"
    told = record_victim(other, victim)
    assert (told.state, "another --out" in told.message) == ("failed", True)
    seeded = record_victim(zoo_in(demo_victims / "zoo", tmp_path, seed=1), victim)
    assert seeded.state == "recorded"
    assert len(recordings(tmp_path)) == 2


@pytest.mark.parametrize(
    ("settings", "arms", "said"),
    [
        ({"preset": "race"}, {}, "preset"),
        ({"oracle": {"rate_limit": "10/second"}}, {}, "rate limits"),
        ({}, {"nonsense": 1}, "nonsense"),
        ({}, {"classes": {"samples": 0}}, "samples"),
        ({"search_images": 0}, {}, "search_images"),
    ],
)
def test_settings_that_will_not_do_are_refused_at_once(
    settings: dict[str, Any], arms: dict[str, Any], said: str, demo_victims: Path, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, InvalidSpec), match=said):
        zoo_in(demo_victims / "zoo", tmp_path, arms, **settings).check()


def test_a_victim_whose_weights_are_others_fails_alone(demo_victims: Path, tmp_path: Path) -> None:
    zoo, (first, second) = zoo_in(demo_victims / "zoo", tmp_path), Manifest.load(demo_victims / "zoo").victims
    told = list(recorded_by(zoo, [first.model_copy(update={"sha256": "0"}), second], Workers()))
    assert [o.state for o in told] == ["failed", "recorded"]
    assert "other weights" in told[0].message


def test_a_victim_that_another_process_records_is_left_to_it(demo_victims: Path, tmp_path: Path) -> None:
    zoo, victim = zoo_in(demo_victims / "zoo", tmp_path), Manifest.load(demo_victims / "zoo").victims[0]
    path = path_of(zoo, victim, seed=0)
    with FileLock(path.with_name(f"{path.name}.lock")):
        told = record_victim(zoo, victim)
    assert (told.state, told.queries, path.exists()) == ("busy", 0, False)


def test_an_unforeseen_error_concerns_its_victim_alone(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo, victims = zoo_in(demo_victims / "zoo", tmp_path), Manifest.load(demo_victims / "zoo").victims
    opened = OpenedVictim.of

    def fails_once(zoo: Zoo, victim: Victim) -> OpenedVictim:
        if victim.index == victims[0].index:
            raise RuntimeError("a line\nand another")
        return opened(zoo, victim)

    monkeypatch.setattr(OpenedVictim, "of", fails_once)
    told = list(recorded_by(zoo, victims[:2], Workers()))
    assert [o.state for o in told] == ["failed", "recorded"]
    assert told[0].message.startswith("unexpected RuntimeError: a line and another (this is a bug")
