"""How many configurations a zoo has seen: of its lines, and of ledgers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from simkit.detectors.blackbox.k_arm import KArm
from simkit.seeding import subseed
from studies.ledgers.folders import ledgers_in
from studies.results.table.configurations import Config, configurations, runs_of
from studies.scan.user_code import described
from tests.studies.report.ledgers import Kept, write
from tests.studies.results.table.made import config, line


def test_configurations_are_counted_once_and_by_the_detectors_name() -> None:
    steps = [line(0, config=config(steps=n)) for n in (1, 2, 2)]
    other = [line(1, detector="b3d-ss", config=config(steps=3)), line(3, detector="own", config={})]
    found = configurations([*steps, *other])
    assert (found.configurations, found.ledgers) == (4, 0)
    assert found.detectors == (("probe", 2), ("b3d-ss", 1), ("own", 1))


def test_a_preset_is_a_name_and_no_setting() -> None:
    named = [line(0, detector=name, config=config() | {"preset": name}) for name in ("b3d", "mine")]
    assert configurations([*named, line(1)]).detectors == (("b3d", 1),)


def test_ledgers_tell_of_tries_that_left_no_line(tmp_path: Path) -> None:
    below = tmp_path / "ledgers" / "zoo"
    below.mkdir(parents=True)
    kept = [Kept(model_hash="model 0", settings={"seed": seed}) for seed in (0, 1)]
    write(below / "a.db", *kept, replace(kept[1], model_hash="of another zoo", settings={"seed": 2}))
    write(below / "b.db", Kept(model_hash="model 1", settings={"seed": 1}, verdict=None))
    ledgers = ledgers_in(tmp_path / "ledgers")
    runs = list(runs_of(ledgers))
    assert len(runs) == 4
    known = {name: value for name, value in runs[0][1].items() if name != "preset"}
    found = configurations([line(0, config=dict(known)), line(1, config=dict(known))], runs, len(ledgers))
    assert (found.configurations, found.ledgers) == (2, 2)


def test_screening_inputs_is_no_try_and_a_detector_goes_by_its_name() -> None:
    kinds: list[dict[str, object]] = [{"kind": f"simkit.{name}"} for name in ("mitigation.Screener", "Other")]
    runs: list[tuple[str, Config]] = [("model 0", {"detector": told}) for told in (*kinds, described(KArm(), "detect"))]
    runs += [("model 0", {"preset": "annealing", "seed": seed}) for seed in (0, 1)]
    found = configurations([line(0, config={"preset": "annealing", "seed": 0}, detector="mine")], runs, 1)
    assert dict(found.detectors) == {"mine": 1, "annealing": 1, "Other": 1, "k-arm": 1}


def test_a_seed_of_each_victims_own_is_one_configuration_of_all_of_them() -> None:
    own: Config = {"kind": "weird.Spray", "tries": 3, "code": "c" * 64}
    methods: list[tuple[str, dict[str, object]]] = [("auto", {"preset": "auto"}), ("weird:SPRAY", {"detector": own})]
    lines, runs = [], list[tuple[str, Config]]()
    for victim in range(6):
        for name, settings in methods:
            for service in ("scores", "label"):
                told = {**settings, "oracle": service}
                made = line(victim, detector=name, config={**told, "seed": "0, by victim"})
                lines.append(made.model_copy(update={"seed": 1_000 + victim}))
                runs.append((made.model_hash, {**told, "seed": 1_000 + victim}))
    found = configurations(lines, runs, len(runs))
    assert dict(found.detectors) == {"auto": 2, "weird:SPRAY": 2}

    again = lines[0].model_copy(update={"config": {**lines[0].config, "seed": "3, by victim"}, "seed": 77})
    unfinished = (lines[-1].model_hash, {**runs[-1][1], "seed": subseed(3, "scan", 1_005)})
    changed = (lines[-1].model_hash, {**runs[-1][1], "detector": {**own, "code": "d" * 64}})
    alone = (lines[-1].model_hash, {**runs[-1][1], "seed": 5})
    found = configurations([*lines, again], [*runs, unfinished, changed, alone], len(runs))
    assert dict(found.detectors) == {"auto": 3, "weird:SPRAY": 5}
