"""What `simkit scan` prints of a result: reasons, classes, score and threshold, queries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkit.triggers import Trigger
from simkit.verdict import RULES, ClassResult, Verdict
from studies.cli.main import main
from studies.cli.scan_words import closest_words, show
from studies.scan.config import ScanConfig
from studies.scan.prepare import Prepared, prepare
from studies.scan.probability import Probability
from studies.scan.result import ScanResult
from studies.scan.run import run_scan
from studies.scan.stored_triggers import trigger_rows
from studies.scan.trigger_files import save_triggers
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet

OTHER: dict[str, Any] = {"search": {}, "driver": {}}


def prepared_with(**settings: Any) -> Prepared:
    return prepare(TemplateNet(), ScanConfig.of(SETTINGS | {"budget": 20_000} | settings), IMAGES)


@pytest.fixture(scope="module")
def clean() -> ScanResult:
    return run_scan(prepared_with())


def of_class(target: int, size: int, rate: float | None, *, censored: bool, trials: int = 32) -> ClassResult:
    mask = np.zeros((1, 12, 12), np.float32)
    mask.reshape(-1)[:size] = 1.0
    return ClassResult(target, Trigger(mask, mask.copy()), float(size), rate, censored, 0 if rate is None else trials)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (
            (of_class(0, 92, 0.97, censored=False), of_class(1, 60, 0.9, censored=False)),
            "class 1: a mask of 60 pixels turned 90% of 32 unseen images into it",
        ),
        (
            (of_class(0, 20, 0.3, censored=True), of_class(1, 9, 0.1, censored=True)),
            "class 0: a mask of 20 pixels turned 30% of 32 unseen images into it; no trigger of it worked",
        ),
        ((of_class(0, 1, None, censored=False), of_class(1, 9, 0.1, censored=True)), "class 0: a mask of 1 pixel"),
    ],
    ids=["the smallest", "the most successful", "not tried"],
)
def test_a_clean_verdict_names_the_class_that_came_closest(
    clean: ScanResult, classes: tuple[ClassResult, ...], words: str
) -> None:
    assert closest_words(replace(clean, classes=classes)) == f"closest to being flagged is {words}"


def test_the_class_that_came_closest_leads_the_table_and_is_the_one_that_is_drawn(
    clean: ScanResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    never = (of_class(0, 1, None, censored=True), of_class(1, 2, None, censored=True))
    classes = (*never, of_class(2, 3, 0.1, censored=True), of_class(3, 9, 0.4, censored=True))
    result = replace(clean, classes=classes)
    assert "closest to being flagged is class 3: " in closest_words(result)
    table = printed(result, prepared_with(), capsys).split("\n class ")[1].splitlines()[2:6]
    assert [line.split()[0] for line in table] == ["3", "2", "0", "1"]
    assert [c.target_class for c in result._classes().ordered()] == [3, 2, 0, 1]
    rows = trigger_rows(Verdict("clean", "converged", (), 0.0, classes, 1.0))
    files = save_triggers(tmp_path, "m", (), rows)
    assert [path.name for path in files.png] == ["m-unflagged-class3.png"]


def test_no_class_is_named_without_a_trial_or_for_another_verdict(clean: ScanResult) -> None:
    assert clean.verdict == "clean"
    assert closest_words(clean).startswith("closest to being flagged is class ")
    assert closest_words(replace(clean, verdict="undecided")) == ""
    assert closest_words(replace(clean, classes=(of_class(0, 9, None, censored=True),))) == ""
    assert closest_words(replace(clean, classes=())) == ""


def printed(result: ScanResult, prepared: Prepared, capsys: pytest.CaptureFixture[str], stored: int = 0) -> str:
    show(result, prepared, stored)
    return capsys.readouterr().out


def test_a_calibrated_verdict_is_told_with_its_probability(
    clean: ScanResult, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Probability(0.25, 0.1, 0.4, 0.5, 12, 40, ("zoo",))
    assert "probability" not in printed(clean, prepared_with(), capsys)
    out = printed(replace(clean, probability=known).under(0.01), prepared_with(), capsys)
    assert f"\nprobability of a backdoor: {known.at(0.01).words}\n" in out
    assert "probability of a backdoor: 0.003 (95 % interval 0.001 to 0.007) if 1 %" in out


@pytest.mark.parametrize(
    ("preset", "start"),
    [
        ("race", "clean: no class has"),
        ("auto", "clean: race and race-families ran to their end: no class has"),  # without warps on small images
    ],
)
def test_a_scan_in_stages_names_those_that_found_nothing(
    clean: ScanResult, preset: str, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    staged = prepared_with(preset=preset, **OTHER)
    assert printed(replace(clean, rule="small_share", rule_limit=1.0), staged, capsys).startswith(start)


def test_every_source_of_a_threshold_is_said_without_the_history_of_the_project(
    clean: ScanResult, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepared_with()
    for rule in RULES.values():
        result = replace(clean, rule=rule.name, rule_limit=rule.threshold, threshold_source=rule.source)
        out = printed(result, prepared, capsys)
        assert "prototype" not in out
        assert "unofficial" not in out


def test_a_rule_by_share_says_its_pixels_and_the_smallest_mask(
    clean: ScanResult, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = (of_class(0, 92, 0.9, censored=False), of_class(1, 9, 0.1, censored=True))
    result = replace(clean, rule="small_share", rule_limit=1 / 16, classes=classes)
    assert "flags working masks of at most 9 pixels; the smallest here has 92 pixels;" in printed(
        result, prepared_with(), capsys
    )


def test_the_order_of_the_classes_and_censored_sizes_are_explained(
    clean: ScanResult, capsys: pytest.CaptureFixture[str]
) -> None:
    working = replace(clean, classes=(of_class(0, 92, 0.9, censored=False),))
    assert "Order: classes whose trigger works, the smallest mask (in pixels) first.\n" in printed(
        working, prepared_with(), capsys
    )
    out = printed(clean, prepared_with(), capsys)
    assert "then censored ones, where no trigger worked, the highest success rate first and those never tried" in out
    assert " last: the size is that of the largest that failed.\n" in out
    assert "accuracy on clean images 100.0% of 16\n" in out


def test_the_accuracy_is_told_of_the_images_that_were_asked(capsys: pytest.CaptureFixture[str]) -> None:
    prepared = prepared_with(driver=SETTINGS["driver"] | {"check_images": 32, "check_batch": 8})
    assert "accuracy on clean images 100.0% of 8\n" in printed(run_scan(prepared), prepared, capsys)


def test_a_budget_that_ended_first_is_told_what_a_whole_scan_takes(capsys: pytest.CaptureFixture[str]) -> None:
    prepared = prepared_with(budget=900, preset="b3d", **OTHER)
    out = printed(run_scan(prepared), prepared, capsys)
    assert "with b3d, a model of 4 classes takes up to 9,872 queries where nothing is flagged\n" in out


def test_queries_of_an_earlier_process_are_told_apart(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "digits", "--budget", "5000", "--preset", "random-patch", "--db", str(tmp_path / "scan.db")]
    scan = ["scan", f"{demo_victims / 'zoo'}:0", *options, "--set", "search.largest_side=2"]
    assert main(scan) == 0
    first = capsys.readouterr().out
    assert "taken from the ledger" not in first
    assert main(scan) == 0
    spent = first.split(" queries of a budget")[0].split("\n")[-1]
    assert f"{spent} queries of a budget of 5,000 ({spent} of them taken from the ledger)" in capsys.readouterr().out


def test_an_interrupted_scan_tells_how_many_queries_were_stored(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from oracles.torch_model import TorchOracle

    asked, query = [0], TorchOracle.query

    def interrupted(self: TorchOracle, images: Any, tag: Any = None) -> Any:
        asked[0] += 1
        if asked[0] > 3:
            raise KeyboardInterrupt
        return query(self, images, tag)

    options = ["--data", "digits", "--budget", "5000", "--preset", "random-patch", "--db", str(tmp_path / "scan.db")]
    scan = ["scan", f"{demo_victims / 'zoo'}:0", *options, "--set", "search.largest_side=2"]
    with monkeypatch.context() as patched:
        patched.setattr(TorchOracle, "query", interrupted)
        assert main(scan) == 130
    assert main(scan) == 0
    assert " (134 of them taken from the ledger), 0 refused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("charged", "words"),
    [
        ({"cost": 12.4, "currency": "USD"}, "\ncost 12.40 USD\n"),
        ({"cost": 12.4, "currency": "USD", "api_seconds": 90.0}, "\nsimulated API time 90.0 s; cost 12.40 USD\n"),
        ({"cost": 12.4}, "\nno cost is shown, since the oracle spec states a price without its currency\n"),
        ({"api_seconds": 90.0}, "\nsimulated API time 90.0 s\n"),
    ],
)
def test_money_is_printed_with_its_currency_alone(
    clean: ScanResult, capsys: pytest.CaptureFixture[str], charged: dict[str, Any], words: str
) -> None:
    told = printed(replace(clean, **charged), prepared_with(), capsys)
    assert words in told
    assert told.count("12.4") == ("currency" in charged)
    assert "cost" not in printed(clean, prepared_with(), capsys)


def test_a_rule_of_families_names_no_mask(clean: ScanResult, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(replace(clean, rule="small_share", rule_limit=1.0), prepared_with(), capsys)
    assert "rule small_share flags what is within the limit of its family and passes the family's test" in out
    assert "smallest mask" not in out
