"""What a gallery shows: the rule that chooses, originals of every kind of attack, and the scans that belong to them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.errors import StorageError
from db.ledger import Ledger
from db.records import VerdictRow
from simkit.attacks.badnets import BadNets
from simkit.attacks.several import Several
from simkit.errors import ConfigError, DataError
from simkit.zoo.manifest import Manifest
from studies.cli.main import main
from studies.ledgers.folders import is_screening
from studies.render.trigger_views import on_image
from studies.report.gallery.gather import Backdoor, GalleryConfig, ShownZoo, ZooSource, gather_gallery
from studies.report.gallery.picture import draw_zoo
from studies.report.page import render_gallery
from studies.scan.canonical import canonical
from studies.scan.user_code import described
from studies.study.detectors import method
from tests.patches import patch
from tests.simkit.attacks.own_attacks import Inverted
from tests.studies.report.gallery.galleries import ATTACKS, OTHER, PATCH, images, scanned, zoo_of
from tests.studies.report.ledgers import Kept, info_of, write

VERDICT = VerdictRow("clean", "decided", (), None, "own", None, "own", 0, 0, 0.1, None, "")

FEW = {name: ATTACKS[name] for name in ("2x2", "sinusoidal")}


@pytest.fixture
def data(tmp_path: Path) -> str:
    return images(tmp_path / "images.npz")


def gathered(tmp_path: Path, data: str, *hashes: str, each: int = 3) -> ShownZoo:
    zoo, ledgers = zoo_of(tmp_path / "zoo", data), scanned(tmp_path / "ledgers", *hashes)
    return gather_gallery([ZooSource(zoo)], [ledgers], GalleryConfig(each))[0]


def backdoor(zoo: ShownZoo, stratum: str, number: int = 0) -> Backdoor:
    (found,) = [shown for shown in zoo.strata if shown.name == stratum]
    return found.shown[0].backdoors[number]


def test_the_first_of_each_stratum_by_index_are_shown_in_the_order_of_the_spec(tmp_path: Path, data: str) -> None:
    zoo = zoo_of(tmp_path / "zoo", data, {"odd": ATTACKS["sinusoidal"], "2x2": ATTACKS["2x2"]}, each=4)
    (shown,) = gather_gallery([ZooSource(zoo)], [scanned(tmp_path / "ledgers")], GalleryConfig(each=2))
    assert [(s.name, s.victims, [v.index for v in s.shown]) for s in shown.strata] == [
        ("2x2", 4, [4, 5]),
        ("odd", 4, [0, 1]),
    ]
    assert shown.clean == 1


def test_the_page_says_how_many_victims_it_leaves_out_for_their_own_attack(tmp_path: Path, data: str) -> None:
    attacks = {"2x2": ATTACKS["2x2"], "inverted": Inverted(2)}
    shown = gather_gallery([ZooSource(zoo_of(tmp_path / "zoo", data, attacks, each=2))], [])
    assert (shown[0].clean, shown[0].own, [stratum.name for stratum in shown[0].strata]) == (1, 2, ["2x2"])
    assert "2 victims are not shown, having an attack of somebody's own" in render_gallery(shown, 3)


def test_a_victim_of_several_backdoors_is_left_out_where_one_is_somebodys_own(tmp_path: Path, data: str) -> None:
    attacks = {"2x2": ATTACKS["2x2"], "both": Several((BadNets(PATCH, 2), Inverted(0)))}
    zoo = zoo_of(tmp_path / "zoo", data, attacks)
    (shown,) = gather_gallery([ZooSource(zoo)], [])
    assert (shown.clean, shown.own, [stratum.name for stratum in shown.strata]) == (1, 1, ["2x2"])
    (both,) = [victim for victim in Manifest.load(zoo).victims if victim.stratum == "both"]
    assert both.trigger(shown.image_shape) is None


def test_a_patch_beside_what_a_scan_found_of_it(tmp_path: Path, data: str) -> None:
    shown = backdoor(gathered(tmp_path, data, "2x2-0"), "2x2")
    (found,) = shown.found
    assert shown.original is not None
    assert shown.target == "2 <bird>"
    assert np.array_equal(patch(shown.original).mask, PATCH.mask)
    assert (shown.triggered[:, :2, 1:3] == 1.0).all()
    assert np.array_equal(shown.triggered[:, 2:], shown.plain[:, 2:])
    assert found.overlap == pytest.approx(2 / 6)  # two of the four pixels of each
    assert (found.detector, found.verdict, found.flagged) == ("b3d, scores", "backdoored", (2,))
    assert (found.success.hits, found.success.trials, found.queries) == (8, 8, 72)
    assert found.trigger is not None
    after = on_image(found.trigger, shown.plain)
    assert (after[:, :2, :2] == 0.25).all()
    assert np.array_equal(after[:, 2:], shown.plain[:, 2:])


def test_attacks_without_mask_and_pattern_and_blends_are_not_compared(tmp_path: Path, data: str) -> None:
    zoo = gathered(tmp_path, data, "blended-1", "sinusoidal-2")
    blended, waves = backdoor(zoo, "blended"), backdoor(zoo, "sinusoidal")
    assert blended.original is not None
    assert waves.original is not None
    assert waves.original.words == "a wave of 20 of 255, 2.0 cycles"
    np.testing.assert_allclose(on_image(waves.original, waves.plain), waves.triggered, atol=1e-6)
    assert not np.array_equal(waves.plain, waves.triggered)
    assert [shown.overlap for shown in (*blended.found, *waves.found)] == [None, None]
    assert [shown.both for shown in (*blended.found, *waves.found)] == [None, None]


def test_an_attack_on_one_source_class_is_shown_on_an_image_of_it(tmp_path: Path, data: str) -> None:
    level = backdoor(gathered(tmp_path, data), "source").plain[0, 0, 0]
    assert round(float(level) * 64) % 4 == 3


def test_each_of_several_backdoors_is_shown_with_its_own_class(tmp_path: Path, data: str) -> None:
    zoo = gathered(tmp_path, data, "several-4")
    first, second = backdoor(zoo, "several"), backdoor(zoo, "several", 1)
    assert (first.target_class, second.target_class) == (2, 0)
    assert second.original is not None
    assert np.array_equal(patch(second.original).mask, OTHER.mask)
    assert first.found[0].overlap == pytest.approx(2 / 6)
    assert second.found[0].trigger is not None
    assert second.found[0].trigger.mask_size == 20.0


def test_of_one_detector_behind_one_service_the_newest_finished_scan_is_shown(tmp_path: Path, data: str) -> None:
    model = "2x2-0"
    ledgers = scanned(tmp_path / "ledgers", model, "another")
    labels = Kept(model_hash=model, settings={"oracle": "label"}, verdict="clean", flagged=())
    write(ledgers / "later.db", Kept(model_hash=model, steps=9), labels, Kept(model_hash=model, verdict=None))
    with sqlite3.connect(ledgers / "foreign.db") as other:
        other.execute("CREATE TABLE trials (id INTEGER)")
    zoo = zoo_of(tmp_path / "zoo", data)
    (shown,) = gather_gallery([ZooSource(zoo)], [ledgers])
    found = backdoor(shown, "2x2").found
    assert [(f.detector, f.verdict, f.queries) for f in found] == [
        ("b3d, label", "clean", 102 - 30),
        ("b3d, scores", "backdoored", 102),
    ]
    (none,) = gather_gallery([ZooSource(zoo)], [ledgers], GalleryConfig(detectors=("b3d-slides",)))
    assert backdoor(none, "2x2").found == ()


def test_detectors_are_called_as_study_scan_calls_them_and_a_white_box_has_no_service(
    tmp_path: Path, data: str
) -> None:
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir()
    detectors = {
        name: described(method(name).detector, "detect") for name in ("tabor-quick", "tabor-reference", "aeva")
    }
    detectors["own"] = {"kind": "mine.Own"}
    for name, known in detectors.items():
        info = info_of(Kept(model_hash="2x2-0"))
        with Ledger.open(ledgers / f"{name}.db") as ledger:
            ledger.begin(replace(info, config=canonical({"detector": known}))).finish(VERDICT, [])
    zoo = ZooSource(zoo_of(tmp_path / "zoo", data))
    (shown,) = gather_gallery([zoo], [ledgers])
    told = [found.detector for found in backdoor(shown, "2x2").found]
    assert told == ["Own, scores", "aeva, scores", "tabor-quick", "tabor-reference"]
    (one,) = gather_gallery([zoo], [ledgers], GalleryConfig(detectors=("tabor-quick",)))
    assert [found.detector for found in backdoor(one, "2x2").found] == ["tabor-quick"]


def test_a_mitigation_is_no_scan() -> None:
    info = info_of(Kept())
    assert not is_screening(json.loads(info.config))
    assert is_screening({"detector": {"kind": "simkit.mitigation.Screener"}})
    assert not is_screening([])


def test_the_page_holds_every_picture_and_equal_records_give_equal_text(tmp_path: Path, data: str) -> None:
    zoo = gathered(tmp_path, data, "2x2-0", "sinusoidal-2")
    page = render_gallery([zoo], 3)
    assert page == render_gallery([zoo], 3)
    assert page.count("<article") == 5
    assert page.count("hold no finished scan of this victim") == 4  # blended, source, and the two of several
    # patches with four pictures, waves and blends with three; what was found with four, without an overlap three
    assert page.count('<img src="data:image/png') == 4 * 4 + 2 * 3 + 4 + 3
    assert "class 2 &lt;bird&gt;" in page
    assert "IoU 0.33" in page
    assert "<bird>" not in page


def test_the_picture_of_a_zoo(tmp_path: Path, data: str) -> None:
    zoo, ledgers = zoo_of(tmp_path / "zoo", data, FEW), scanned(tmp_path / "ledgers", "2x2-0")
    (shown,) = gather_gallery([ZooSource(zoo)], [ledgers])
    assert draw_zoo(tmp_path / "zoo.png", shown) == "b3d, scores"
    width, height = Image.open(tmp_path / "zoo.png").size
    assert 1.5 * width < height < 3 * width  # two panels across, four down
    (unscanned,) = gather_gallery([ZooSource(zoo)], [])
    assert draw_zoo(tmp_path / "none.png", unscanned) is None


def test_the_command(tmp_path: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    zoo, ledgers = zoo_of(tmp_path / "zoo", "none", FEW), scanned(tmp_path / "ledgers", "2x2-0")
    page = tmp_path / "gallery.html"
    named = [str(zoo), "--ledgers", str(ledgers), "--out", str(page)]
    assert main(["study", "gallery", *named, "--data", data, "--each", "1"]) == 0
    picture = tmp_path / "gallery-known.png"
    assert capsys.readouterr().out.splitlines() == [f"{page}: 2 victims", f"{picture}: b3d, scores"]
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert main(["study", "gallery", str(zoo), *named, "--data", data, "--data", data]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"{tmp_path / 'gallery-known-1.png'}: b3d, scores",
        f"{tmp_path / 'gallery-known-2.png'}: b3d, scores",
    ]


def test_what_cannot_be_done_is_one_line(tmp_path: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    zoo, ledgers = zoo_of(tmp_path / "zoo", data), scanned(tmp_path / "ledgers", "2x2-0")
    refused: list[tuple[list[str], int, str]] = [
        ([str(zoo), "--data", data, "--data", data], 2, "--data is given 2 times for 1 zoos"),
        ([str(zoo), "--data", "digits"], 4, "images (1, 8, 8)"),
        ([str(tmp_path)], 4, "folder of a zoo"),
        ([str(zoo), "--ledgers", str(tmp_path / "none")], 5, "no folder of ledgers"),
        ([str(zoo), "--out", str(ledgers / "0.db")], 5, "not an HTML page"),
        ([str(zoo), "--detector", "raec"], 2, "--detector raec: these ledgers hold no finished scan by it"),
    ]
    for arguments, code, said in refused:
        page = ["--out", str(tmp_path / "a.html")] if "--out" not in arguments else []
        assert main(["study", "gallery", "--ledgers", str(ledgers), *page, *arguments]) == code
        told = capsys.readouterr()
        assert said in told.err
        assert (told.out, told.err.count("\n")) == ("", 1)
    assert not list(tmp_path.glob("*.html"))


def test_settings_that_make_no_sense(tmp_path: Path, data: str) -> None:
    with pytest.raises(ConfigError, match="0 victims per stratum"):
        GalleryConfig(each=0)
    with pytest.raises(StorageError, match="no folder of ledgers"):
        gather_gallery([ZooSource(zoo_of(tmp_path / "zoo", data))], [tmp_path / "images.npz"])
    with pytest.raises(DataError, match="cannot be read"):
        gather_gallery([ZooSource(tmp_path)], [])
