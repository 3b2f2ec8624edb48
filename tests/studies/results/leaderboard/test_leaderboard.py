"""A leaderboard of a few lines that can be counted by hand: who stands where, what is apart, and what is left out."""

from __future__ import annotations

import csv
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError, DataError
from studies.render.grids import Shown
from studies.results.leaderboard.export import to_csv
from studies.results.leaderboard.gather import gather_leaderboard, makings
from studies.results.leaderboard.layout import sections, tables
from studies.results.leaderboard.records import Leaderboard
from studies.results.leaderboard.views import HEADING, markdown, page, text
from studies.results.table.gather import Wanted
from studies.statistics import share
from studies.study.result_line import ResultLine
from tests.studies.pages import Elements
from tests.studies.results.table.made import ORACLE, config, line, lines, write
from tests.studies.results.table.test_methods import stored


def board(folder: Path, told: list[ResultLine], wanted: Wanted | None = None) -> Leaderboard:
    return gather_leaderboard([write(folder / "a.jsonl", told)], wanted)


def rows(found: Leaderboard) -> list[list[str]]:
    """The rows of all zoos as words."""
    grids = [grid for section in sections(found) for grid in section.grids if "TPR" in grid.columns]
    return [[c.words if isinstance(c, Shown) else c for c in row] for grid in grids for row in grid.rows]


def of_default(verdicts: str, detector: str = "random-patch", **changes: Any) -> list[ResultLine]:
    known = stored(detector)
    return lines(verdicts, detector=detector, config=known.config, config_hash=known.config_hash, **changes)


def test_a_row_by_hand(tmp_path: Path) -> None:
    (row,) = rows(board(tmp_path, of_default("cbbcub")))  # clean: c b u; backdoored: b c b
    assert row[:7] == ["random-patch", "scores", "500", "3/6 50% (19-81)", "2/3 (21-94)", "1/3 (6-79)", "2/2"]
    assert row[7:9] == ["4,000", "3,000"]  # medians of 2,000, 4,000, 6,000 and of 1,000, 3,000, 5,000
    assert row[9] == stored("random-patch").config_hash[:8]


def test_few_victims_do_not_lead_and_services_go_from_scores_to_labels(tmp_path: Path) -> None:
    label = config() | {"oracle": ORACLE | {"label_only": True}}
    top = config() | {"oracle": ORACLE | {"top_k": 5}}
    told = [*lines("cb", detector="few"), *lines("cbcbcbcbcbcc", detector="many")]
    told += [*lines("cb", detector="labels", config=label), *lines("cb", detector="top", config=top)]
    told += lines("cb", detector="white", white_box=True, queries=0)
    assert [row[:3] for row in rows(board(tmp_path, told))] == [
        ["many", "scores", "300,000"],
        ["few", "scores", "300,000"],
        ["top", "top-5", "300,000"],
        ["labels", "label-only", "300,000"],
        ["white", "weights", "-"],
    ]
    assert rows(board(tmp_path, told))[-1][7:9] == ["-", "-"]


def test_budgets_and_settings_stay_apart_and_former_settings_are_recognised(tmp_path: Path) -> None:
    former = stored("random-patch", search_images=64)
    again = stored("random-patch", seed=3)
    told = [*of_default("cb"), *lines("cc", detector="random-patch", config=former.config)]
    told += lines("bb", detector="random-patch", config=again.config)
    told += lines("bc", detector="random-patch", config=stored("random-patch", budget=900).config)  # both wrong
    found = board(tmp_path, told)
    (zoo,) = found.boards
    assert {(e.default, e.cell.method.budget, e.cell.right.hits) for e in zoo.entries} == {
        (True, 500, 2),
        (True, 500, 1),  # another seed is a repetition
        (True, 900, 0),
        (False, 500, 1),
    }
    assert len(zoo.entries) == 4
    changed = {e.cell.method.config_hash: e.cell.method.changed for e in zoo.entries}
    assert changed[former.config_hash] == (("search_images", "64"),)
    assert changed[again.config_hash] == (("seed", "3"),)
    assert "**With other settings, former defaults among them**" in markdown(found)
    assert (
        f"- `{former.config_hash[:8]}` random-patch, scores, 500 (simkit None, torch None): `search_images=64`"
        in markdown(found)
    )


def test_many_settings_stand_by_their_tables() -> None:
    few = (("seed", "1"), ("search.steps", "9"))
    assert tables(few) == ["seed=1", "search.steps=9"]
    many = (*few, *((f"search.test.{name}", "2") for name in "abcdefg"))
    assert tables(many) == ["seed=1", "search.{steps=9}", "search.test.{a=2, b=2, c=2, d=2, e=2, f=2, g=2}"]


def test_a_setting_that_a_line_lacks_makes_it_a_former_one(tmp_path: Path) -> None:
    lacking = {name: value for name, value in stored("auto").config.items() if name != "refine"}
    (zoo,) = board(tmp_path, lines("cb", detector="auto", config=lacking)).boards
    assert [entry.default for entry in zoo.entries] == [False]
    assert {name.split(".")[0] for name in zoo.entries[0].lacks} == {"refine"}


def test_only_report_lines_are_shown_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    tuned = lines("bb", split="tune", zoo="tuned")
    (tmp_path / "speed.jsonl").write_text('{"seconds": 3}\n')
    files = [write(tmp_path / "a.jsonl", [*lines("cbub"), *tuned, line(1, detector="nc")]), tmp_path / "speed.jsonl"]
    found = gather_leaderboard(files)
    assert ([one.zoo for one in found.boards], found.left_out, found.others) == (
        ["small"],
        (("tune", 2),),
        ("speed.jsonl",),
    )
    said = markdown(found)
    assert said.startswith(HEADING)
    assert "Lines left out: 2 of split tune" in said
    assert "Files of other measurements, left out: speed.jsonl." in said
    assert "scanned 1 of 4 victims" in said
    assert "1 undecided" in said
    assert [one.zoo for one in gather_leaderboard(files, Wanted(split="tune")).boards] == ["tuned"]
    with pytest.raises(ConfigError, match=r"speed\.jsonl: no file holds result lines"):
        gather_leaderboard([tmp_path / "speed.jsonl"])
    (tmp_path / "torn.jsonl").write_text('{"zoo": ')
    with pytest.raises(DataError, match=r"torn\.jsonl, line 1: is incomplete"):
        gather_leaderboard([tmp_path / "torn.jsonl"])


@pytest.mark.parametrize(
    "odd",
    [{"oracle": "scores"}, {"oracle": [1]}, {"oracle": {"top_k": "five"}}, {"seed": f"{'9' * 5_000}, by victim"}],
)
def test_odd_settings_in_a_line_of_a_stranger_are_shown_and_break_nothing(tmp_path: Path, odd: dict[str, Any]) -> None:
    told = [one.model_copy(update={"config": one.config | odd}) for one in of_default("cb")]
    found = board(tmp_path, told)
    assert rows(found)[0][0] == "random-patch"
    assert found.boards[0].entries[0].rank == (0, 0, -(10**6))
    assert "random-patch" in markdown(found)


def test_victims_that_were_made_again_are_other_victims(tmp_path: Path) -> None:
    first, second = lines("cbcb"), [line(i, model_hash=f"again {i}", detector="nc") for i in (1, 0)]
    assert makings([*first, *second, *lines("cb", detector="nc")]) == [[*first, *lines("cb", detector="nc")], second]
    found = board(tmp_path, [*first, *second])
    assert [(one.title, one.victims.count) for one in found.boards] == [
        ("small", 4),
        ("small, other victims of that name (2)", 2),
    ]


def test_zoos_with_many_victims_come_first_and_are_seen_at_a_glance(tmp_path: Path) -> None:
    told = [*of_default("cb", zoo="few"), *of_default("cbcbcc", zoo="many"), *lines("cc", zoo="many", detector="own")]
    found = board(tmp_path, told)
    assert [one.zoo for one in found.boards] == ["many", "few"]
    glance = sections(found)[0]
    (grid,) = glance.grids
    assert grid.columns[4:] == ("many", "few")
    assert [[c.words if isinstance(c, Shown) else c for c in row][4:] for row in grid.rows] == [
        ["5/6 (44-97)", "2/2 (34-100)"]
    ]


def test_names_are_no_markup_and_pages_are_whole(tmp_path: Path) -> None:
    evil = "<script>|`x`*\n[a](b)"
    found = board(tmp_path, [one.model_copy(update={"zoo": evil, "detector": evil}) for one in lines("cb")])
    said = markdown(found)
    assert "<script" not in said
    assert "&lt;script&gt;\\|\\`x\\`\\* \\[a\\](b)" in said
    assert Elements(page(found)).open == []
    assert "<script" not in page(found)
    assert max(map(len, text(found, 100).splitlines())) <= 100


def test_csv_has_a_row_an_entry(tmp_path: Path) -> None:
    (row,) = csv.DictReader(StringIO(to_csv(board(tmp_path, of_default("cbbc")))))
    assert (row["zoo"], row["default"], row["right"], row["right_of"], row["tpr"], row["fpr"]) == (
        *("small", "True", "2", "4"),
        *("1", "1"),
    )
    assert float(row["right_low"]) == share(2, 4).low
    assert (row["queries_backdoored_median"], row["queries_clean_median"]) == ("3000.0", "2000.0")


def test_a_fleet_of_a_thousand_victims_and_ten_detectors_takes_seconds(tmp_path: Path) -> None:
    known = stored("random-patch").config
    methods = [line(0, detector="random-patch", config=known | {"search_images": 64 + n}) for n in range(10)]
    told = [one.model_copy(update={"index": i, "model_hash": f"model {i}"}) for one in methods for i in range(1000)]
    file = write(tmp_path / "fleet.jsonl", told)
    begun = time.process_time()
    found = gather_leaderboard([file])
    assert len(markdown(found)) > 1000
    assert time.process_time() - begun < 20
    assert [entry.cell.scans for entry in found.boards[0].entries] == [1000] * 10
