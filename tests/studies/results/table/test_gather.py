"""From files of lines to the records: zoos apart, splits apart, victims once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError
from studies.results.table.gather import Wanted, gather, telling, victims_of
from studies.results.table.layout import sections
from studies.results.table.records import Table
from studies.statistics import share
from studies.study.result_line import ResultLine
from tests.studies.report.ledgers import Kept
from tests.studies.report.ledgers import write as write_ledger
from tests.studies.results.table.made import line, lines, write


def table(folder: Path, told: list[ResultLine], wanted: Wanted | None = None) -> Table:
    return gather([write(folder / "results.jsonl", told)], wanted)


def other_zoo(**changes: Any) -> list[ResultLine]:
    return [line(i, zoo="large", model_hash=f"large {i}", **changes) for i in range(3)]


def test_zoos_stand_apart(tmp_path: Path) -> None:
    found = table(tmp_path, [*lines("cbcb"), *lines("bbbb", detector="nc"), *other_zoo()])
    assert [(zoo.zoo, zoo.victims.count) for zoo in found.zoos] == [("small", 4), ("large", 3)]
    small, large = found.zoos
    assert [(cell.method.label, cell.right) for cell in small.cells] == [("probe", share(4, 4)), ("nc", share(2, 4))]
    assert [(p.first.label, p.second.label, p.only_first) for p in small.pairs] == [("probe", "nc", 2)]
    assert (len(large.cells), large.pairs) == (1, ())


def test_splits_are_never_pooled(tmp_path: Path) -> None:
    tuned = [one.model_copy(update={"split": "tune"}) for one in lines("uuu")]
    told = [*lines("cb"), *tuned]
    found = table(tmp_path, told)
    assert (found.split, found.left_out) == ("report", (("tune", 3),))
    assert found.zoos[0].cells[0].scans == 2
    assert found.zoos[0].tries.configurations == 1
    assert table(tmp_path, told, Wanted(split="tune")).zoos[0].cells[0].undecided == share(3, 3)
    with pytest.raises(ConfigError, match="no result line is of split report; try --split tune"):
        table(tmp_path, tuned, Wanted(split="report"))
    two = [one.model_copy(update={"split": "calibrate", "zoo": "large"}) for one in tuned]
    with pytest.raises(ConfigError, match="no result line is of split report; try --split tune, --split calibrate"):
        table(tmp_path, [*tuned, *two])
    with pytest.raises(ConfigError, match=r"no result line is of split report$"):
        table(tmp_path, [])


def test_the_only_split_there_is_needs_no_name(tmp_path: Path) -> None:
    found = table(tmp_path, [one.model_copy(update={"split": "tune"}) for one in lines("cb")])
    assert (found.split, found.left_out) == ("tune", ())
    assert sections(found)[0].title == "small, split tune"
    assert sections(table(tmp_path, lines("cb")))[0].title == "small"


def test_a_zoo_may_be_named(tmp_path: Path) -> None:
    told = [*lines("cb"), *other_zoo()]
    assert [zoo.zoo for zoo in table(tmp_path, told, Wanted(zoos=("large",))).zoos] == ["large"]
    with pytest.raises(
        ConfigError, match="--zoo none: no result line of split report is of it; choose from small, large"
    ):
        table(tmp_path, told, Wanted(zoos=("none",)))


def test_victims_are_counted_once() -> None:
    found = victims_of([*lines("cbcbcb"), *lines("cbcb", detector="nc")])
    assert (found.count, found.clean, found.backdoored) == (6, 3, 3)
    assert found.strata == (("1x1", 1), ("2x2", 1), ("3x3", 1))
    assert found.attacks == (("badnets", 3),)
    assert found.architectures == (("conv4", 4), ("flat", 2))
    assert found.clean_accuracy == (0.7, 0.705)
    assert found.implant_success == (0.901, 0.905)
    assert victims_of(lines("c")).implant_success is None


def test_breakdowns_that_tell_nothing_are_left_out() -> None:
    assert telling(lines("cbcbcb")) == ["size", "architecture"]
    assert telling(lines("cb")) == []
    attacks = [line(i, attack=name, stratum=name) for i, name in ((1, "blended"), (5, "warping"))]
    assert telling(attacks) == ["attack"]


def test_a_breakdown_may_be_named(tmp_path: Path) -> None:
    (zoo,) = table(tmp_path, lines("cb"), Wanted(by=("attack",))).zoos
    assert [(found.by, found.groups) for found in zoo.breakdowns] == [("attack", ("badnets", "clean"))]


def test_ledgers_count_among_the_tries(tmp_path: Path) -> None:
    (tmp_path / "ledgers").mkdir()
    write_ledger(tmp_path / "ledgers" / "a.db", Kept(model_hash="model 0"), Kept(model_hash="elsewhere"))
    (zoo,) = table(tmp_path, lines("cb"), Wanted(ledgers=tmp_path / "ledgers")).zoos
    assert (zoo.tries.configurations, zoo.tries.ledgers) == (2, 1)


def test_zoos_are_pooled_on_demand(tmp_path: Path) -> None:
    (zoo,) = table(tmp_path, [*lines("cb"), *other_zoo()], Wanted(pool=True)).zoos
    assert (zoo.zoo, zoo.victims.count) == ("small + large", 2 + len(other_zoo()))
