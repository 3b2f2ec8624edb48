"""One record of a verdict: what the ledger keeps of it, the result of a scan is, and its JSON says."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

from db import reads
from db.records import VERDICT_COLUMNS, VerdictRow, pack_verdict, unpack_verdict
from studies.scan.result import JSON_KEYS, ScanResult, empty_json
from studies.study.result_line import ResultLine
from studies.study.unit import _OF_THE_VERDICT
from tests.studies.scans import TemplateNet, scanned

STORED = [field.name for field in fields(VerdictRow)]


def test_a_result_is_the_ledgers_record(tmp_path: Path) -> None:
    result = scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "a.db")
    row = reads.result(tmp_path / "a.db", 1)
    assert row is not None
    assert {name: getattr(result, name) for name in STORED} == vars(row)
    assert isinstance(result, VerdictRow)
    assert result != row


def test_every_stored_field_is_in_the_json_once(tmp_path: Path) -> None:
    result = scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "a.db")
    told = result.to_json()
    assert tuple(told) == JSON_KEYS == tuple(empty_json())
    flat = {**told, **told["rule"], "rule": told["rule"]["name"], "threshold_source": told["rule"]["source"]}
    flat["rule_limit"] = told["rule"]["limit"]
    flat |= {"spent": told["queries"]["spent"], "refused": told["queries"]["refused"]}
    assert {name: flat[name] for name in STORED} == {name: getattr(result, name) for name in STORED} | {
        "flagged": list(result.flagged)
    }
    assert json.loads(json.dumps(told)) == told


def test_the_keys_are_those_that_were_promised() -> None:
    assert (
        *("verdict", "stopped", "flagged", "score", "rule", "queries", "seconds", "run", "db"),
        *("cost", "currency", "api_seconds", "clean_accuracy", "checked_images", "classes", "trigger", "notes"),
        *("error", "exit_code", "ruled_out", "probability"),
    ) == JSON_KEYS
    of_the_rule = {"score", "threshold", "rule_limit"}
    assert {"verdict", "stopped", "flagged", "seconds", "notes"} | of_the_rule == _OF_THE_VERDICT


def test_a_record_is_what_it_was_after_the_disk() -> None:
    row = VerdictRow("backdoored", "decided", (3, 1), 0.5, "r", None, "s", 7, 0, 0.25, 1.0, "n", None, 2.0)
    packed = pack_verdict(row)
    assert VERDICT_COLUMNS.split(", ") == STORED
    assert packed[2] == "[3, 1]"
    assert unpack_verdict(packed) == row
    nothing_tried = {"stage": "race", "family": "patch", "sought": "1x1 to 3x3", "victims": 0, "zoos": []}
    more = replace(row, rule_limit=0.25, ruled_out=(nothing_tried | dict.fromkeys(("missed", "low", "high")),))
    assert unpack_verdict(pack_verdict(more)) == more
    assert [field.name for field in fields(ScanResult)][: len(STORED)] == STORED
    assert "clean_accuracy" in ResultLine.model_fields


def test_the_accuracy_says_of_how_many_images_it_is(tmp_path: Path) -> None:
    ended_early = {"driver": {"check_images": 32, "check_batch": 8}}
    result = scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "a.db", **ended_early)
    assert (result.clean_accuracy, result.checked_images) == (1.0, 8)
    assert scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "a.db", **ended_early).checked_images == 8
    assert "accuracy on clean images: 100% of 8<" in result._repr_html_()
    unknown = scanned(TemplateNet(target=1), budget=12)
    assert (unknown.clean_accuracy, unknown.checked_images) == (None, None)


def test_a_printed_result_says_what_was_found_and_what_was_searched() -> None:
    found = str(scanned(TemplateNet(target=1), budget=3_000)).splitlines()
    told = "queries of a budget of 3,000; stopped: decided; accuracy on clean images 100.0% of 16"
    assert re.fullmatch(rf"backdoored, class 1: [\d,]+ {told}", found[0])
    assert re.fullmatch(r"class 1: a mask of \d+ pixels turned \d+% of \d+ unseen images into it", found[1])
    clean = scanned(TemplateNet(), budget=None)
    first, searched, others, note = str(clean).splitlines()
    assert first.startswith("clean: ")
    assert " queries of no limit; stopped: converged; " in first
    assert searched.startswith("searched: random-patch searched for patches of up to 16 pixels; ")
    assert others.startswith("searched: no search looked for triggers that are a ")
    assert note.startswith("note: closest to being flagged is class ")
    assert "accuracy" not in str(scanned(TemplateNet(target=1), budget=12))


def test_a_budget_that_is_not_spent_says_once_what_the_next_step_needs() -> None:
    short = scanned(TemplateNet(), preset="auto", search={}, driver={}, budget=100)
    assert (short.verdict, short.spent) == ("undecided", 8)
    assert short.notes.count("the next step needs 100 queries, and 92 are left") == short.notes.count("next step") == 1


def test_the_form_of_a_result_in_a_debugger_is_one_line() -> None:
    result = scanned(TemplateNet(target=1), budget=3_000)
    shown = f"verdict='backdoored', flagged=(1,), score={result.score!r}, spent={result.spent}, budget=3000"
    assert repr(result) == f"ScanResult({shown}, stopped='decided', 4 classes)"
    assert "array" not in repr(result.classes)
