"""What the site makes from the code."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from docs.generate import (
    STUDY_TABLES,
    as_plain_text,
    commands,
    field_list,
    no_words,
    presets,
    search_settings,
    settings,
    tables,
    with_factories,
)
from oracles.spec import OracleSpec
from simkit.search.costs import full_length
from studies.scan.config import ScanConfig
from studies.scan.overrides import with_settings
from studies.study.config import StudyConfig
from studies.study.schema import EXAMPLES, descriptions, schema, write_example


def test_a_field_is_described_where_it_is_declared() -> None:
    class Spec(BaseModel):
        """A spec. a: is not read from here."""

        a: int = 1
        b: int = Field(2, description="Declared at the field.")

    assert descriptions(Spec) == {"b": "Declared at the field."}


def test_the_fields_of_a_model_are_a_list() -> None:
    class Spec(BaseModel):
        """A spec."""

        top_k: int = Field(2, description="Set by `--set`.")

    assert field_list(Spec) == "\n* **top_k**: Set by ``--set``.\n"


PAGES = sorted((Path(__file__).parent).glob("*.md"))


def test_a_page_with_tables_from_the_code_says_where_they_are() -> None:
    made = [page for page in PAGES if "{include} generated/" in page.read_text()]
    assert {page.stem for page in made} == {"cli", "ledger", "service", "settings", "study_file"}
    for page in made:
        assert "`python -m docs.generate`" in page.read_text().split("{include}")[0]


def test_the_symbols_of_the_slides_stand_at_settings_that_their_commands_can_set() -> None:
    text = (Path(__file__).parent / "settings.md").read_text()
    commands = re.findall(r"\| `--preset (\S+) --set (\S+)` \|", text)
    assert len(commands) == 4
    for preset, setting in commands:
        ScanConfig.of(with_settings({"preset": preset}, [setting]))


def test_the_budget_of_the_short_study_pays_for_a_clean_model() -> None:
    text = (Path(__file__).parent / "study_file.md").read_text()
    study = tomllib.loads(text.split("cat > study.toml <<'END'\n")[1].split("\nEND\n")[0])
    for entry in study["detectors"]:
        config = ScanConfig.of({"preset": entry["name"], **study["settings"], **entry.get("settings", {})})
        length = full_length(config.resolved(), 10)
        assert length is not None
        assert study["budget"] >= length + config.resolved().driver.check_images


def test_no_setting_goes_without_a_word() -> None:
    models: list[type[BaseModel]] = [ScanConfig, OracleSpec, StudyConfig, *STUDY_TABLES.values()]
    for model in models:
        rows = [line for line in settings(model).splitlines()[2:] if "|  |" in line]
        assert rows == []


def test_the_settings_of_every_search_are_listed() -> None:
    listed = search_settings()
    assert "| `samples` | Candidates per step and estimator: k of the slides. | `50` |" in listed
    assert listed.count("### ") == 8
    assert "|  |" not in listed


def test_a_docstring_is_shown_as_it_is_written() -> None:
    assert as_plain_text("Does *this* to `x`. side: in px.", ["side"]) == (
        "Does \\*this\\* to ``x``. \n\n* **side**: in px."
    )


def test_a_default_that_is_made_anew_is_shown_as_a_call() -> None:
    @dataclass
    class Two:
        """A record."""

        number: int = 1
        spec: OracleSpec = field(default_factory=OracleSpec)
        few: OracleSpec = field(default_factory=lambda: OracleSpec(top_k=3))

    shown = "(number=1, spec=<factory>, few=<factory>)"
    assert with_factories(shown, Two) == "(number=1, spec=OracleSpec(), few=OracleSpec(...))"
    assert with_factories(shown, Two()) == shown
    assert with_factories(None, Two) is None


def test_what_says_nothing_to_a_reader_is_found() -> None:
    page = "<p>&lt;factory&gt; and <function f at 0x7f3b4cb51080>, &lt;lambda&gt;</p>"
    assert no_words(page) == ["&lt;factory&gt;", "0x7f3b4cb51080", "&lt;lambda&gt;"]
    assert no_words("<p>a lambda of 0x10 in the factory</p>") == []


@pytest.mark.process
def test_commands_and_tables_are_those_there_are() -> None:
    assert "## `simkit scan`" in commands()
    assert "### `calls`" in tables()
    assert "CREATE VIEW queries" in tables()


def test_a_rule_is_shown_by_name_and_threshold() -> None:
    assert "| `RaceConfig` | `small_share`, threshold 0.0351562 |" in presets()
    assert " at 0x" not in presets()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_study_is_what_its_schema_allows(example: str, tmp_path: Path) -> None:
    validator = pytest.importorskip("jsonschema", reason="no jsonschema: it comes with the group docs")
    write_example(tmp_path / "study.toml", example)
    study = tomllib.loads((tmp_path / "study.toml").read_text())
    validator.validate(study, json.loads(schema()))
    with pytest.raises(validator.ValidationError):
        validator.validate(study | {"budgt": 3}, json.loads(schema()))
