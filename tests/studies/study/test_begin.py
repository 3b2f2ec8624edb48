"""Study files to begin with, and the schema that editors read."""

from __future__ import annotations

import json
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
from pydantic import ValidationError

from simkit.errors import ConfigError
from simkit.search.costs import full_length
from simkit.search.presets import PRESETS
from studies.study.config import StudyConfig
from studies.study.schema import EXAMPLES, SCHEMA, schema, write_example

KEPT = Path(__file__).resolve().parents[3] / "docs" / SCHEMA


def test_the_schema_in_the_documentation_is_that_of_the_code() -> None:
    assert KEPT.read_text(encoding="utf-8") == schema(), f"simkit study schema > docs/{SCHEMA}"


def test_every_key_of_the_schema_is_explained_and_none_may_be_null() -> None:
    told = json.loads(schema())
    tables = [told, *(told["$defs"][name] for name in ("ZooEntry", "DetectorEntry", "WorkersEntry", "OracleSpec"))]
    assert [name for table in tables for name, prop in table["properties"].items() if "description" not in prop] == []
    assert '"null"' not in schema()
    assert set(told["properties"]) == set(StudyConfig.model_fields)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_study_file_with_its_schema_beside_it(example: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "study.toml"
    assert write_example(path, example) == path.parent / SCHEMA
    text = path.read_text()
    assert text.startswith(f"#:schema {SCHEMA}\n")
    assert (path.parent / SCHEMA).read_text(encoding="utf-8") == schema()
    StudyConfig.model_validate(tomllib.loads(text))
    with pytest.raises(ConfigError, match="exists already"):
        write_example(path, example)


def test_the_budget_of_the_curve_pays_for_a_clean_model(tmp_path: Path) -> None:
    write_example(tmp_path / "study.toml", "curve")
    config = StudyConfig.model_validate(tomllib.loads((tmp_path / "study.toml").read_text()))
    lengths = [full_length(PRESETS[entry.name], 10) for entry in config.detectors]
    assert all(length is not None and config.budget >= length + 64 for length in lengths)


def test_what_an_example_leaves_out_may_be_put_in(tmp_path: Path) -> None:
    write_example(tmp_path / "study.toml", "curve")
    lines = (tmp_path / "study.toml").read_text().splitlines()
    whole = "\n".join(line.removeprefix("# ") if " = " in line else line for line in lines)
    config = StudyConfig.model_validate(tomllib.loads(whole))
    assert config.settings == {"search_images": 64, "verify_images": 64}
    assert config.zoos[0].limit == 20
    assert config.detectors[0].settings == {"search": {"patches": 1}}
    assert config.workers.executor == "dask://localhost:8786"


def test_there_is_no_other_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no example 'none'; choose from curve, tune"):
        write_example(tmp_path / "study.toml", "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "valid"),
    [
        ("services = {few = {top_k = 3}}", True),
        ("services = {'two words' = {}}", False),
        ("services = {}", False),
        ("services = {few = {top_k = '3'}}", False),
        ("seed = 3", True),
        ("seed = '3'", False),
        ("seeds = [1, '2']", False),
        ("budget = true", False),
        ("workers = {processes = '2'}", False),
        ("report = {price_per_thousand = 2}", True),
        ("report = {price_per_thousand = '2'}", False),
        ("report = {price_per_thousand = 2, currency = 'USD'}", True),
        ("report = {price_per_thousand = 2, currency = 'US dollars'}", False),
        ("tune = {trials = '2'}", False),
        ("tune = {checkpoints = [0.5, '0.75']}", False),
        ("tune = {space = {search = {sigma = {low = 1, high = 2.5, log = true}}}}", True),
        ("tune = {space = {search = {sigma = {low = '1', high = 2}}}}", False),
        ("tune = {space = {search = {sigma = {low = 1, high = 2, log = 1}}}}", False),
        ("tune = {space = {search = {baseline = {choices = ['none', 1, true]}}}}", True),
    ],
)
def test_the_schema_and_the_code_agree(line: str, valid: bool) -> None:
    checker = pytest.importorskip("jsonschema", reason="no jsonschema: it comes with the group docs")
    head = 'name = "small"\nsplit = "tune"\n'
    given = tomllib.loads(f'{head}{line}\n[[zoos]]\nfolder = "zoo"\n[[detectors]]\nname = "race"\n')
    assert checker.Draft202012Validator(json.loads(schema())).is_valid(given) == valid
    with nullcontext() if valid else pytest.raises(ValidationError):
        StudyConfig.model_validate(given)
