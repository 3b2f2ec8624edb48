"""White boxes under another rule: the same searches, other verdicts, lines that a table takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer import BadParameter

from benchmarks.other_rule import main, under
from simkit.search.presets import rule
from studies.results.table.gather import gather
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.unit import scan_unit
from tests.studies.study.studies import study_of, units

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def line(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> ResultLine:
    study = study_of(zoo, tmp_path_factory.mktemp("white"))
    found = scan_unit(units(study, "neural-cleanse-quick")[1]).line
    assert found is not None
    return found


def changed(line: ResultLine, sizes: list[float], rate: float, trials: int = 100) -> ResultLine:
    """The line with these sizes, and every trigger tried so often, so often with success."""
    told = {"success_rate": rate, "trials": trials, "censored": False}
    classes = [c.model_copy(update=told | {"mask_size": size}) for c, size in zip(line.classes, sizes, strict=True)]
    return line.model_copy(update={"classes": tuple(classes)})


SMALL = [20.0, 4.0, *[20.0] * 8]
OUTLIER = [20.0, 11.0, *[20.0] * 8]


@pytest.mark.parametrize(
    ("sizes", "rate", "name", "said"),
    [
        (SMALL, 1.0, "below_median", ("backdoored", (1,))),
        (SMALL, 1.0, "anomaly_index", ("backdoored", (1,))),
        (OUTLIER, 1.0, "below_median", ("clean", ())),
        (OUTLIER, 1.0, "anomaly_index", ("backdoored", (1,))),
        (SMALL, 0.0, "below_median", ("clean", ())),
    ],
)
def test_a_rule_judges_the_sizes_and_the_trials(
    line: ResultLine, sizes: list[float], rate: float, name: str, said: tuple[str, tuple[int, ...]]
) -> None:
    told = under(changed(line, sizes, rate), rule(name))
    assert (told.verdict, told.flagged) == said
    assert told.config["detector"]["rule"] == name
    assert (told.config_hash == line.config_hash) == (name == "anomaly_index")
    assert [c.censored for c in told.classes] == [rate == 0.0] * 10


def test_its_own_rule_says_what_it_said(line: ResultLine) -> None:
    assert under(line, rule("anomaly_index")) == line


def test_lines_stand_beside_the_others_in_a_table(line: ResultLine, tmp_path: Path) -> None:
    (tmp_path / "white.jsonl").write_text(line.model_dump_json() + "\n")
    for _ in range(2):
        main(tmp_path / "white.jsonl", tmp_path / "other.jsonl")
    assert len(read_lines(tmp_path / "other.jsonl")) == 1
    (zoo,) = gather([tmp_path / "white.jsonl", tmp_path / "other.jsonl"]).zoos
    assert len(zoo.cells) == 2


def test_what_cannot_be_judged_is_told(line: ResultLine, tmp_path: Path) -> None:
    old = [c.model_copy(update={"trials": None}) for c in line.classes]
    with pytest.raises(BadParameter, match="without trials; scan it again"):
        under(line.model_copy(update={"classes": tuple(old)}), rule("below_median"))
    black = tmp_path / "black.jsonl"
    black.write_text(line.model_copy(update={"white_box": False}).model_dump_json() + "\n")
    for arguments, said in (
        ((black, tmp_path / "o"), "no line of a white-box detector"),
        ((black, tmp_path / "o", "x"), "name one"),
    ):
        with pytest.raises(BadParameter, match=said):
            main(*arguments)
