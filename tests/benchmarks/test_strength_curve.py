"""How strong triggers are beside the limits of `auto`, and how often it finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import strength_curve
from benchmarks.strengths import attack_of, pixels_of
from simkit.attacks.sinusoidal import Sinusoidal
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

RESULTS = Path(__file__).resolve().parents[2] / "results"
LINES = list(read_lines(RESULTS / "families.jsonl"))


def of(stratum: str, zoo: str) -> ResultLine:
    return next(line for line in LINES if (line.stratum, line.zoo) == (stratum, zoo))


@pytest.mark.parametrize(
    ("stratum", "zoo", "pixels"),
    [
        ("5x5", "cifar10-wide-report", 25),
        ("patch-scattered", "cifar10-beyond-caps-report", 64),
        ("patch-larger", "cifar10-beyond-caps-report", 64),
        ("sinusoidal", "cifar10-families-report", None),
        ("source-specific", "cifar10-sources-report", None),
        ("clean", "cifar10-families-report", None),
    ],
)
def test_the_pixels_of_a_patch(stratum: str, zoo: str, pixels: int | None) -> None:
    assert pixels_of(of(stratum, zoo)) == pixels


def test_strengths_are_multiples_of_the_limits() -> None:
    found = strength_curve.backdoors(LINES)
    within = [one for one in found if one.share <= 1.0]
    beyond = [one for one in found if one.share > 1.0]
    assert {one.family for one in within} == {"patch", "wave", "blend", "warp"} == {one.family for one in beyond}
    amplitude = attack_of(of("sinusoidal", "cifar10-families-report"))
    assert isinstance(amplitude, Sinusoidal)
    assert pytest.approx(amplitude.amplitude / (40 / 255)) in [one.share for one in found if one.family == "wave"]


def test_a_wave_finer_than_the_limit_has_no_place() -> None:
    finer = [line for line in LINES if line.stratum == "wave-finer"]
    assert finer
    assert strength_curve.backdoors(finer) == []


def test_a_victim_scanned_by_scores_alone_has_no_place() -> None:
    scores = [line for line in LINES if not line.config["oracle"]["label_only"]]
    assert strength_curve.backdoors(scores) == []


def test_rows_count_victims_by_strength_and_by_asr() -> None:
    found = [
        strength_curve.Backdoor("wave", 0.4, 0.99, {"scores": True, "labels": False}),
        strength_curve.Backdoor("wave", 0.5, 0.9, {"scores": True, "labels": True}),
        strength_curve.Backdoor("wave", 0.5, 0.3, {"scores": False, "labels": False}),
        strength_curve.Backdoor("wave", 2.0, 0.99, {"scores": False, "labels": False}),
    ]
    cells = [
        tuple(row[name] for name in ("bin", "victims", "ASR", "scores", "labels"))
        for row in strength_curve.by_strength(found)
    ]
    assert cells == [
        ("0 to 0.5 of the limit", 2, "90-99 %", 2, 1),
        ("1.5 to inf of the limit", 1, "99-99 %", 0, 0),
    ]
    rows = [(row["bin"], row["victims"], row["scores"]) for row in strength_curve.by_asr(found)]
    assert rows == [("ASR of 0 to 50 %", 1, 0), ("ASR of 85 to 95 %", 1, 1), ("ASR of 95 to 100 %", 1, 1)]


def test_the_picture_has_a_panel_for_every_family(tmp_path: Path) -> None:
    figure = tmp_path / "strengths.png"
    strength_curve.main([RESULTS / "families.jsonl"], figure)
    assert figure.read_bytes().startswith(b"\x89PNG")
    drawn = strength_curve.drawn(strength_curve.backdoors(LINES))
    assert [axes.get_title() for axes in drawn.axes[:4]] == ["patch", "wave", "blend", "warp"]
    points = sum(len(np.asarray(shown.get_offsets())) for axes in drawn.axes[:4] for shown in axes.collections)
    assert points == len(strength_curve.backdoors(LINES))
