"""The table on a terminal: everything that is in it, and nothing cut off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from studies.render.grids import Shown
from studies.results.table.gather import gather
from studies.results.table.layout import sections
from studies.results.table.views import text
from studies.study.result_line import ResultLine
from tests.studies.results.table.made import config, line, lines, write

ATTACKS = ("badnets", "blended", "label-consistent", "sinusoidal", "several", "source-specific", "warping")


def attacked(**changes: Any) -> list[ResultLine]:
    """A zoo of one clean victim and one of each attack."""
    names = [line(0, zoo="attacks", **changes)]
    return names + [
        line(2 * i + 1, "backdoored", zoo="attacks", attack=name, stratum=name, **changes)
        for i, name in enumerate(ATTACKS)
    ]


def words_of(row: tuple[str | Shown, ...]) -> list[str]:
    """All words, and names with hyphens, that are short enough never to be folded."""
    cells = [cell if isinstance(cell, str) else cell.words for cell in row]
    return [word for cell in cells for word in cell.split() if len(word) <= 32]


def told(folder: Path, given: list[ResultLine], width: int = 100) -> str:
    return text(gather([write(folder / "a.jsonl", given)]), width)


def cells(said: str, label: str) -> list[list[str]]:
    """The cells of every row that begins so."""
    rows = [row for row in said.splitlines() if row.startswith(f" {label}  ")]
    return [re.split(r"\s{2,}", row.strip()) for row in rows]


def test_the_figures_of_one_zoo(tmp_path: Path) -> None:
    said = told(tmp_path, [*lines("cbcbcb"), *lines("cbbcub", detector="nc")])
    assert "6 victims: 3 backdoored (1 1x1, 1 2x2, 1 3x3), 3 clean" in said
    probe, nc = cells(said, "probe"), cells(said, "nc")
    assert probe[0] == ["probe", "6/6 100% (61-100)", "3/3 (44-100)", "0/3 (0-56)", "1.00 (0.50-1.00)"]
    assert nc[0][:4] == ["nc", "3/6 50% (19-81)", "2/3 (21-94)", "1/3 (6-79)"]
    assert nc[1] == ["nc", "2/2 (34-100)", "2/2 (34-100)", "1/6", "0/6", "2"]
    assert probe[2] == ["probe", "4.00k / 6.00k", "3.00k / 5.00k", "3.50k / 6.00k", "21.0k"]
    assert ["probe", "nc", "6", "3", "3", "0", "0", "0.250"] in probe
    assert "42,000 queries in total." in said
    assert "1 configuration was tried on this zoo: " in said


def test_zoos_are_compared_first(tmp_path: Path) -> None:
    said = told(tmp_path, [*lines("cb"), *attacked(detector="nc")])
    assert said.startswith("Detection accuracy, report zoos\n")
    assert cells(said, "nc")[0] == ["nc", "-", "8/8 100% (68-100)"]


def test_what_is_not_the_same_for_all_is_told(tmp_path: Path) -> None:
    said = told(tmp_path, [*lines("cbcb"), line(1, detector="nc", score=None)])
    assert "nc scanned 1 of 4 victims; nc gave no score for 1 of them." in said
    assert "sets of images" not in said
    assert "probe used 2 different sets of images." in told(tmp_path, [*lines("cb"), line(2, data_hash="others")])


def test_white_boxes_are_paid_in_passes(tmp_path: Path) -> None:
    white = lines("cb", detector="nc", forward_passes=3000, backward_passes=1000, queries=0)
    said = told(tmp_path, [*white, *lines("cb", image_queries=7)])
    assert cells(said, "nc, forward") == [["nc, forward", *["3.00k / 3.00k"] * 3, "6.00k"]]
    assert cells(said, "nc, backward") == [["nc, backward", *["1.00k / 1.00k"] * 3, "2.00k"]]
    assert cells(said, "probe")[2][-1] == "14"
    assert "Queries per victim" not in told(tmp_path, white)
    assert "to make images" not in told(tmp_path, lines("cb"))


def test_a_white_box_that_does_not_count_is_no_black_box(tmp_path: Path) -> None:
    said = told(tmp_path, [*lines("cb", detector="own", white_box=True, queries=0), *lines("cb")])
    assert cells(said, "own")[-1][2:4] == ["weights", "-"]
    assert "own" not in said.partition("Queries per victim")[2].partition("queries in total")[0]


def test_with_many_methods_pairs_are_a_matrix(tmp_path: Path) -> None:
    given = [one for n in range(5) for one in lines("cbcb" if n else "ubcb", detector=f"d{n}")]
    said = told(tmp_path, given)
    assert cells(said, "1 d0") == [["1 d0", "0:1", "0:1", "0:1", "0:1"]]
    assert cells(said, "4 d3") == [["4 d3", "0:0"]]


def test_the_slides_stand_apart(tmp_path: Path) -> None:
    said = told(tmp_path, lines("cb"))
    after = said.partition("Figures from the slides, for other victims")[2]
    assert "Nothing here reproduces" in " ".join(after.split())
    assert cells(after, "B3D-SS")[0][1:] == ["195/200 97.5% (94-99)", "172/172 100% (98-100)", "191/200 95.5% (92-98)"]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_width_cuts_anything_off(tmp_path: Path, width: int) -> None:
    long = attacked(detector="neural-cleanse-elsewhere", config=config(budget=1))
    given = [*attacked(), *long, *attacked(detector="neural-cleanse-elsewhere")]
    table = gather([write(tmp_path / "a.jsonl", given)])
    said = text(table, width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    grids = [grid for section in sections(table) for grid in section.grids]
    rows_told = [row for grid in grids for row in (grid.columns, *grid.rows)]
    assert [word for row in rows_told for word in words_of(row) if word not in said] == []
    by_attack = said.partition("Detected victims, by attack")[2].partition("Detected victims, by architecture")[0]
    assert len(re.findall(r"\d/\d", by_attack)) == 3 * (len(ATTACKS) + 1)
    assert by_attack.count("method") == (1 if width == 160 else 2)  # a grid too wide goes on below, not in broken names
