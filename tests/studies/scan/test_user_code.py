"""A user's own searcher, rule and restriction in a scan, and what a run knows them by."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.references import referred
from simkit.search.b3d import B3DConfig
from simkit.search.presets import Preset
from simkit.verdict import RULES
from studies.cli.scan import scan_model
from studies.scan.config import ScanConfig
from studies.scan.user_code import described, described_rule
from tests.studies.own_code import ANY, CORNER, CornerConfig, Dimmed
from tests.studies.scans import TemplateNet, arrays, scanned, told


def corner_scan(target: int | None = 2, **settings: Any) -> Any:
    return scanned(TemplateNet(target), **({"preset": CORNER, "search": {}, "driver": {}} | settings))


def test_a_search_of_ones_own_finds_what_it_looks_for() -> None:
    assert (corner_scan().verdict, corner_scan().flagged) == ("backdoored", (2,))
    assert corner_scan(None).verdict == "clean"


def test_settings_go_over_a_preset_of_ones_own() -> None:
    result = corner_scan(search={"side": 1})
    assert {c.mask_size for c in result.classes} == {1.0}
    with pytest.raises(ConfigError, match="did you mean 'side'"):
        corner_scan(search={"size": 1})


def test_a_rule_of_ones_own_decides_and_names_itself() -> None:
    result = corner_scan(preset=replace(CORNER, rule=ANY))
    assert (result.verdict, result.rule, result.threshold_source) == ("backdoored", "any", "for this test")


def test_the_same_settings_are_the_same_run_and_others_another(tmp_path: Path) -> None:
    first, again = (corner_scan(db=tmp_path / "own.db") for _ in range(2))
    other = corner_scan(db=tmp_path / "own.db", preset=Preset(CornerConfig(side=3), "small_patch", CORNER.driver))
    assert first.run == again.run != other.run


def test_a_restriction_stands_between_the_model_and_the_search(tmp_path: Path) -> None:
    plain, dimmed = corner_scan(db=tmp_path / "own.db"), corner_scan(db=tmp_path / "own.db", restriction=Dimmed(1e-3))
    assert plain.run != dimmed.run
    with sqlite3.connect(tmp_path / "own.db") as ledger:
        best = "SELECT run, max(score) FROM queries WHERE purpose = 'check' GROUP BY run ORDER BY run"
        (_, high), (_, low) = ledger.execute(best).fetchall()
    assert low < high


def test_a_restricted_scan_that_was_broken_off_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"restriction": Dimmed(1e-4), "preset": "random-patch", "search": {"rounds": 8}}
    whole = corner_scan(None, **settings, db=tmp_path / "whole.db")

    def stop(_done: int, _total: int | None, note: str = "", /) -> None:
        if int(note.partition("round ")[2].split(",")[0]) >= 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("studies.scan.run._TELL_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        corner_scan(None, **settings, db=tmp_path / "broken.db", progress=stop)
    resumed = corner_scan(None, **settings, db=tmp_path / "broken.db")
    assert told(resumed) == told(whole)
    assert arrays(resumed) == arrays(whole)
    assert answers(tmp_path / "broken.db") == answers(tmp_path / "whole.db")


def answers(path: Path) -> list[bytes]:
    with sqlite3.connect(path) as ledger:
        return [row[0] for row in ledger.execute("SELECT answers FROM calls ORDER BY number")]


def test_a_restriction_that_wraps_nothing_is_told() -> None:
    @dataclass(frozen=True)
    class Forgetful:
        def wrap(self, inner: object, first: int) -> None: ...

    with pytest.raises(ConfigError, match="returns no oracle"):
        corner_scan(restriction=Forgetful())


def test_settings_of_ones_own_are_known_by_class_fields_and_code() -> None:
    known = described(CornerConfig(side=3), "search")
    assert (known["kind"], known["side"]) == ("tests.studies.own_code.CornerConfig", 3)
    assert len(known["code"]) == 64
    assert "code" not in described(B3DConfig(), "search")


def test_changed_code_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "own_thing.py"
    source = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass S:\n wrap = None or id\nTHING = S()\n"
    file.write_text(source)
    thing = referred("own_thing:THING")
    before = described(thing, "wrap")
    file.write_text(source + "# changed\n")
    after = described(thing, "wrap")
    del sys.modules["own_thing"]
    assert before["code"] != after["code"]


@dataclass
class _Thawed:
    def search(self) -> None: ...


@dataclass(frozen=True)
class _Arrays:
    values: Any = field(default_factory=lambda: np.zeros(2))

    def search(self) -> None: ...


@dataclass(frozen=True)
class _Reserved:
    kind: str = "mine"

    def search(self) -> None: ...


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (_Thawed(), "no frozen dataclass"),
        (CornerConfig, "CornerConfig is a class; name an instance of it"),
        (_Arrays(), r"_Arrays\.values: .*not JSON"),
        (_Arrays(float("nan")), "_Arrays.values"),
        (_Reserved(), "field 'kind'"),
        (object(), "no method search"),
    ],
    ids=["thawed", "class", "array", "nan", "reserved", "object"],
)
def test_what_a_run_could_not_be_known_by_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ScanConfig.of({"preset": Preset(settings, "small_patch")})


def test_a_rule_under_a_known_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'small_patch' already"):
        described_rule(replace(ANY, name="small_patch"))
    assert described_rule(replace(RULES["small_patch"], threshold=9.0)) == {"name": "small_patch", "threshold": 9.0}


def test_code_in_no_file_is_warned_of() -> None:
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass S:\n    def wrap(self): ...\n", space)
    with pytest.warns(UserWarning, match="has no source file"):
        assert "code" not in described(space["S"](), "wrap")


@pytest.mark.parametrize("name", ["tests.studies.own_code:NOTHING", "no_such_module:X", "own_code", "a:b:c", "x:"])
def test_a_name_of_nothing_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=name.split(":")[0]):
        referred(name)


def test_the_command_takes_both_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="own_code_of_nobody:P: cannot import"):
        scan_model("model.pt", 10, "digits", preset="own_code_of_nobody:P")
    with pytest.raises(ConfigError, match="own_code_of_nobody:R: cannot import"):
        scan_model("model.pt", 10, "digits", restriction="own_code_of_nobody:R")


@pytest.mark.process
def test_the_command_finds_code_in_the_folder_where_the_user_stands(tmp_path: Path) -> None:
    (tmp_path / "my_preset.py").write_text("MINE = 7\n")
    code = "import sys; sys.path.pop(0); from simkit.references import referred; print(referred('my_preset:MINE'))"
    env = {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "7\n", done.stderr
