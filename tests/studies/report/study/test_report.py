"""The report of a small study: what it holds, that it is the same twice, and what it does without."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from db.errors import StorageError
from simkit.errors import ConfigError
from studies.cli.main import main
from studies.render.figures import Drawing
from studies.report.study.figures import drawings
from studies.report.study.gather import ReportConfig, gather_report
from studies.report.study.page import page
from studies.report.study.records import StudyReport
from studies.report.study.wording import cost, tiles
from studies.report.study.write import checked_folder, write_report
from studies.results.table.gather import Wanted, tabulated
from studies.scan.price import Price
from studies.study.study_file import StudyFile
from studies.study.unit import scan_unit
from studies.tune.run import work
from tests.studies.pages import Elements, opened
from tests.studies.results.table.made import lines
from tests.studies.tune.fakes import Parabola, task_of
from tests.studies.tune.files import tune_zoo, written

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

STUDY = """
name = "small-study"
split = "report"
budget = 2000
budgets = [300, 1000, 2000]
settings = { search_images = 32, verify_images = 32 }
zoos = [{ folder = "zoo" }]

[services.scores]
[services.label]
label_only = true

[[detectors]]
name = "race"
[[detectors]]
name = "random-patch"
services = ["scores"]
[[detectors]]
name = "neural-cleanse-quick"

[report]
price_per_thousand = 1.5
currency = "EUR"
"""


def folder_of(place: Path, zoo: Path) -> Path:
    shutil.copytree(zoo, place / "zoo")
    (place / "study.toml").write_text(STUDY, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def scanned(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All scans but those of the white box."""
    place = folder_of(tmp_path_factory.mktemp("study"), demo_victims / "zoo")
    todo = StudyFile.load(place / "study.toml").plan().todo
    states = [scan_unit(unit).state for unit in todo if unit.detector != "neural-cleanse-quick"]
    assert states == ["scanned"] * 6
    return place


@pytest.fixture(scope="module")
def report(scanned: Path) -> StudyReport:
    return gather_report(StudyFile.load(scanned / "study.toml"), ReportConfig(each=1))


@pytest.fixture(scope="module")
def drawn(report: StudyReport) -> list[Drawing]:
    return drawings(report)


def test_it_holds_what_the_study_found(report: StudyReport) -> None:
    assert (report.origin.done, report.origin.wanted) == (6, 8)
    assert report.curves is not None
    (panel,) = report.curves.panels
    assert [(curve.name, curve.service) for curve in panel.curves] == [
        ("Race of patches", "scores"),
        ("Race of patches", "label"),
        ("Random patches", "scores"),
    ]
    assert report.curves.budgets == (300, 1000, 2000)
    assert [curve.price for curve in panel.curves] == [Price(1.5, "EUR")] * 3
    assert [(spend.label, spend.scans) for spend in report.spend] == [
        ("Race of patches", 2),
        ("Race of patches, label", 2),
        ("Random patches", 2),
    ]
    for spend in report.spend:
        assert spend.money == pytest.approx(1.5 * spend.queries.total / 1000)
    assert [zoo.name for zoo in report.gallery] == ["demo"]
    assert dict(tiles(report))["finished scans"] == "6/8"
    assert dict(tiles(report))["cost"].endswith(" EUR")


def test_costs_of_two_currencies_are_not_added(report: StudyReport) -> None:
    first, second, third = report.spend
    mixed = replace(report, spend=(first, replace(second, price=Price(2.0, "USD")), replace(third, price=None)))
    assert re.fullmatch(r"[\d.]+ EUR \+ [\d.]+ USD", dict(tiles(mixed))["cost"])
    assert [str(row[-1]).rpartition(" ")[2] for row in cost(mixed).grids[0].rows] == ["EUR", "USD", "-"]
    free = replace(report, spend=(replace(first, price=None),))
    assert "cost" not in dict(tiles(free))
    assert len(cost(free).grids[0].columns) == 6


def test_every_figure_has_three_forms(drawn: list[Drawing]) -> None:
    assert [one.name for one in drawn] == ["curves-accuracy", "curves-auroc", "curves-tpr", "curves-fpr", "queries"]
    for one in drawn:
        assert one.svg.startswith(b"<?xml")
        assert one.png.startswith(b"\x89PNG")
        assert len(list(csv.reader(StringIO(one.csv)))) > 3
    rows = list(csv.DictReader(StringIO(drawn[0].csv)))
    assert {row["service"] for row in rows} == {"scores", "label"}
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)


def test_stated_probabilities_are_drawn_with_their_reliability(report: StudyReport) -> None:
    stated = [one.model_copy(update={"probability": 0.9 if one.index % 2 else 0.2}) for one in lines("cbcb")]
    *_, drawing = drawings(replace(report, curves=None, table=tabulated(stated, Wanted())))
    assert drawing.name == "reliability"
    rows = [(row["probability"], row["backdoored"], row["victims"]) for row in csv.DictReader(StringIO(drawing.csv))]
    assert rows == [("0.2", "0", "2"), ("0.9", "2", "2")]
    assert drawing.title in page(report, [drawing])


def test_the_same_study_gives_the_same_bytes(scanned: Path, tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        made = gather_report(StudyFile.load(scanned / "study.toml"), ReportConfig(each=1))
        files = write_report(made, checked_folder(tmp_path / name))
        assert {file.name for file in files} == {file.name for file in (tmp_path / name).iterdir()}
        written.append({file.name: file.read_bytes() for file in files})
    assert written[0] == written[1]
    tables = {"table.csv", "curves.csv", "pairs.csv", "triggers.csv"}
    assert tables | {"report.html", "triggers-demo.png", "triggers-demo.svg", "queries.svg"} < set(written[0])
    assert checked_folder(tmp_path / "first") == tmp_path / "first"  # a report may be made again


def test_the_page_is_whole_and_names_no_place(report: StudyReport, drawn: list[Drawing], scanned: Path) -> None:
    said = page(report, drawn)
    assert Elements(said).open == []
    assert "<script" not in said
    assert "http" not in said.replace("http-equiv", "")
    assert str(scanned) not in said
    ids = [attributes["id"] for _, attributes in Elements(said).found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "6 of 8 scans are finished" in said
    assert "simkit study run study.toml" in said
    assert report.origin.sha256 in said
    assert "price_per_thousand = 1.5" in said


def test_without_ledgers_it_says_so(scanned: Path, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "moved", scanned / "zoo")
    shutil.copy(scanned / "results.jsonl", place)
    made = gather_report(StudyFile.load(place / "study.toml"), ReportConfig())
    assert (made.gallery, made.no_gallery.partition(":")[0]) == ((), "No triggers are shown")
    assert made.no_gallery in page(made, [])


def test_curves_are_read_off_ledgers_on_demand(scanned: Path) -> None:
    made = gather_report(StudyFile.load(scanned / "study.toml"), ReportConfig(exact="all"))
    assert made.curves is not None
    assert [curve.exact for curve in made.curves.panels[0].curves] == [2, 2, 2]


def test_lines_of_other_studies_are_left_out(scanned: Path, report: StudyReport, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "mixed", scanned / "zoo")
    others = "".join(f"{one.model_dump_json()}\n" for one in lines("cbcb"))
    (place / "results.jsonl").write_text(others + (scanned / "results.jsonl").read_text(), encoding="utf-8")
    made = gather_report(StudyFile.load(place / "study.toml"), ReportConfig())
    assert (made.origin.done, made.origin.results) == (6, report.origin.results)


def test_a_study_of_white_boxes_has_no_curves(demo_victims: Path, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "white", demo_victims / "zoo")
    todo = StudyFile.load(place / "study.toml").plan().todo
    white = next(unit for unit in todo if unit.detector == "neural-cleanse-quick")
    assert scan_unit(white).state == "scanned"
    made = gather_report(StudyFile.load(place / "study.toml"), ReportConfig())
    assert (made.curves, drawings(made)) == (None, [])
    assert made.spend[0].money is None
    assert Elements(page(made, [])).open == []


def test_what_was_tuned_is_shown_without_a_scan(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Drawing("tune-at-100-slice", "What <each> came to", "AUROC", b"<svg/>", b"PNG", "a,b\n")
    monkeypatch.setattr("studies.tune.plots.plots", lambda group: [drawn] if group.name == "at-100" else [])
    zoo = tune_zoo(demo_victims, tmp_path)
    file = StudyFile.load(written(tmp_path, head='name = "fake"\nsplit = "tune"'))
    with pytest.raises(ConfigError, match="no scan of this study is finished"):
        gather_report(file, ReportConfig())
    list(work(task_of(zoo, tmp_path, storage=f"sqlite:///{tmp_path / 'fake-optuna.db'}", seed=5), Parabola))
    made = gather_report(file, ReportConfig())
    assert [one.csv for one in made.tuned] == ["a,b\n"]
    assert (made.table, made.curves, made.spend) == (None, None, ())
    said = page(made, [*drawings(made), *made.tuned])
    assert Elements(said).open == []
    assert "What &lt;each&gt; came to" in said
    assert "simkit study tune study.toml --at 100 --sampler-seed 5\nsimkit study report study.toml" in said
    assert "simkit study run" not in said
    names = {file.name for file in write_report(made, tmp_path / "out")}
    assert {"report.html", "tune-at-100-slice.csv"} < names
    assert "table.csv" not in names


def test_what_cannot_be_done_is_told_and_leaves_nothing(scanned: Path, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "new", scanned / "zoo")
    with pytest.raises(
        ConfigError, match=r"no scan of this study is finished; run `simkit study run study\.toml` first"
    ):
        gather_report(StudyFile.load(place / "study.toml"), ReportConfig())
    with pytest.raises(StorageError, match=r"holds other files and no report\.html"):
        checked_folder(place)
    with pytest.raises(StorageError, match="is not a folder; name a folder"):
        checked_folder(place / "study.toml")
    (tmp_path / "other").mkdir()
    assert checked_folder(tmp_path / "other") == tmp_path / "other"
    (tmp_path / "other" / "report.html").write_text("notes")
    with pytest.raises(StorageError, match="not an HTML page"):
        checked_folder(tmp_path / "other")


def test_the_command(scanned: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    assert main(["study", "report", str(scanned / "study.toml")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{scanned / 'report' / 'report.html'}: 6/8 scans; ")
    assert main(["study", "report", str(scanned / "study.toml"), "--out", str(scanned)]) == 5
    assert "name an empty or a new folder" in capsys.readouterr().err
    assert main(["study", "report", str(scanned / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_page_fits_and_asks_for_nothing(
    browser: Browser, report: StudyReport, drawn: list[Drawing], tmp_path: Path, width: int
) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(report, drawn), encoding="utf-8")
    shown, said, asked = opened(browser, file.as_uri(), width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ends = "[...document.querySelectorAll('p, figcaption, pre')].map(text => text.getBoundingClientRect().right)"
    assert max(shown.evaluate(ends)) <= width
    assert shown.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert (said, asked) == ([], [])
    shown.close()
