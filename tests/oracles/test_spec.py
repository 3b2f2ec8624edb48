from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from oracles.answers import Labels, TopK
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, InvalidSpec
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle
from oracles.resume import Past
from oracles.spec import BUILT_IN, OracleSpec, build, load
from tests.contracts.oracle import OracleContract, recorder_for_contracts
from tests.oracles.fakes import LinearOracle, random_images

EVERYTHING = OracleSpec(top_k=2, threshold=0.1, decimals=2, score_noise=0.05, quantized=True, input_noise=0.02, seed=7)


class TestTheFullStack(OracleContract):
    answer_type = TopK

    def make(self) -> Oracle:
        return build(EVERYTHING, LinearOracle(), Budget(100), recorder_for_contracts())


class TestTheLabelStack(OracleContract):
    answer_type = Labels

    def make(self) -> Oracle:
        return build(EVERYTHING.model_copy(update={"top_k": None, "label_only": True}), LinearOracle(), Budget(None))


class TestThePlainStack(OracleContract):
    def make(self) -> Oracle:
        return build(OracleSpec(), LinearOracle(), Budget(100), recorder_for_contracts())


_UNITS = st.sampled_from(["second", "minute", "hour", "day"])

specs = st.builds(
    OracleSpec,
    top_k=st.none() | st.integers(1, 1000),
    threshold=st.none() | st.floats(0.0, 1.0),
    decimals=st.none() | st.integers(0, 6),
    score_noise=st.floats(0.0, 1e30),
    quantized=st.booleans(),
    input_noise=st.floats(0.0, 1e30),
    seed=st.integers(0, 2**63 - 1),
) | st.builds(
    OracleSpec,
    label_only=st.just(True),
    rate_limit=st.builds("{}{}/{}".format, st.integers(1, 10**9 - 1), st.sampled_from(["", " calls"]), _UNITS),
    rate_burst=st.none() | st.integers(1, 10**9),
    rate_policy=st.sampled_from([None, "wait", "refuse"]),
    near_duplicate=st.floats(1e-9, 1.0),
    near_duplicate_share=st.none() | st.floats(0.0, 0.99),
    near_duplicate_window=st.none() | st.integers(1, 10**6),
    price_per_thousand=st.floats(0.0, 1e9),
    currency=st.none() | st.sampled_from(["USD", "EUR", "€", "US$"]),
    seconds_per_call=st.none() | st.floats(0.0, 1e9),
    seconds_per_query=st.none() | st.floats(0.0, 1e9),
    real_time=st.booleans(),
)


@given(specs)
def test_a_spec_survives_toml_and_json(spec: OracleSpec) -> None:
    assert OracleSpec.from_toml(spec.to_toml()) == spec
    assert OracleSpec.from_json(spec.to_json()) == spec
    assert load(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"top_k": 0}, "top_k = 0"),
        ({"top_k": "3"}, "top_k = '3'.*integer"),
        ({"top_k": True}, "top_k = True"),
        ({"label_only": True, "top_k": 2}, "exclude each other"),
        ({"threshold": 1.5}, "threshold = 1.5"),
        ({"threshold": float("nan")}, "threshold = nan"),
        ({"decimals": 7}, "decimals = 7"),
        ({"score_noise": -0.1}, "score_noise = -0.1"),
        ({"input_noise": float("inf")}, "input_noise = inf"),
        ({"seed": -1}, "seed = -1"),
        ({"sigma": 1.0}, "no field 'sigma'; the fields are top_k"),
        ({"topk": 3}, r"no field 'topk'; did you mean 'top_k'\?"),
        ({"seed": -1, "decimals": 9}, "and 1 more"),
        ({"self": 1}, "no field 'self'"),
        ({"rate_limit": "10"}, r"rate_limit = '10': not a rate limit; give 10/second, 1800/minute, or 15 calls/second"),
        ({"rate_limit": "10/second", "rate_policy": "ban"}, "rate_policy = 'ban'"),
        ({"rate_limit": "10/second", "rate_burst": 0}, "rate_burst = 0"),
        ({"rate_burst": 3}, "rate_burst is set without rate_limit"),
        ({"near_duplicate_window": 3}, "near_duplicate_window is set without near_duplicate"),
        ({"near_duplicate": 0.0}, "near_duplicate = 0.0"),
        ({"near_duplicate": 0.1, "near_duplicate_share": 1.0}, "near_duplicate_share = 1.0"),
        ({"price_per_thousand": -1.5}, "price_per_thousand = -1.5"),
        ({"currency": "USD"}, "currency is set without price_per_thousand; set that too, or neither"),
        ({"price_per_thousand": 1.5, "currency": ""}, "currency = ''"),
        ({"price_per_thousand": 1.5, "currency": "US dollars"}, "currency = 'US dollars'"),
        ({"price_per_thousand": 1.5, "currency": "\x1b[31m"}, "currency = "),
        ({"price_per_thousand": 1.5, "currency": "dollarsandcents"}, "currency = 'dollarsandcents'"),
        ({"seconds_per_call": float("nan")}, "seconds_per_call = nan"),
        ({"real_time": True}, "real_time needs a rate_limit or seconds_per_call"),
    ],
)
def test_a_wrong_field_is_one_typed_line(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as caught:
        OracleSpec(**fields)
    assert "\n" not in str(caught.value)


def test_a_currency_stands_only_where_it_is_set() -> None:
    plain, stated = OracleSpec(price_per_thousand=1.5), OracleSpec(price_per_thousand=1.5, currency="USD")
    for mode in ("json", "python"):
        assert "currency" not in plain.model_dump(mode=mode)
        assert stated.model_dump(mode=mode) == plain.model_dump(mode=mode) | {"currency": "USD"}
    assert json.loads(plain.to_json()).keys() | {"currency"} == json.loads(stated.to_json()).keys()


def test_a_spec_is_frozen_and_can_be_part_of_a_larger_config() -> None:
    class Config(BaseModel):
        oracle: OracleSpec

    config = Config.model_validate_json('{"oracle": {"top_k": 3}}')
    assert config.oracle == OracleSpec(top_k=3)
    with pytest.raises(ValidationError):
        config.oracle.seed = 3
    with pytest.raises(ValidationError, match="top_k = 0"):
        Config.model_validate({"oracle": {"top_k": 0}})


def test_load_by_name() -> None:
    assert load("scores") == OracleSpec()
    assert load("label") == OracleSpec(label_only=True)
    assert load("top12") == OracleSpec(top_k=12)
    assert load("noisy").score_noise > 0.0
    assert load("noisy") == BUILT_IN["noisy"]


def test_load_a_file_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(EVERYTHING.to_toml())
    (tmp_path / "b.json").write_text(EVERYTHING.to_json())
    assert load(tmp_path / "a.toml") == load(str(tmp_path / "b.json")) == EVERYTHING


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.toml", b"top_k = ", "not TOML"),
        ("a.toml", b"top_k = 0", "a.toml: .*top_k = 0"),
        ("a.json", b"[1]", "JSON list"),
        ("a.json", b"{", "not JSON"),
        ("a.toml", b"\xff\xfe\x00", "cannot read"),
        ("a.json", b'{"seed": ' + b"[" * 100_000, "not JSON"),
        ("a.toml", b"seed = " + b"[" * 100_000, "not TOML"),
        ("a.yaml", b"top_k: 3", "no oracle spec"),
    ],
)
def test_load_a_broken_file(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSpec, match=says):
        load(tmp_path / name)


@pytest.mark.parametrize("source", ["topless", "top0", "{", '{"k": 3}', "gone.toml", "a\0.toml", ""])
def test_load_nonsense(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSpec):
        load(source)


def layers(oracle: object) -> list[str]:
    """Names from the outermost in, by looking inside: only a test may."""
    names = []
    while oracle is not None:
        names.append(type(oracle).__name__)
        oracle = getattr(oracle, "_inner", None)
    return names


@pytest.mark.parametrize(("spec", "last"), [(EVERYTHING, "KeepTopK"), (load("label"), "LabelOnly")])
def test_the_one_order(spec: OracleSpec, last: str) -> None:
    full = EVERYTHING.model_copy(update={"top_k": spec.top_k, "label_only": spec.label_only})
    stack = build(full, LinearOracle(), Budget(9), MemoryRecorder())
    assert layers(stack) == [
        "Recorded", "Replayed", "Metered", last,
        "Thresholded", "Rounded", "ScoreNoise", "Quantized", "InputNoise", "LinearOracle",
    ]  # fmt: skip


GUARDED = OracleSpec(rate_limit="10/second", near_duplicate=0.01, seconds_per_call=0.1)


def test_guards_stand_between_the_records_and_the_meter() -> None:
    recorder = MemoryRecorder()
    stack = build(GUARDED, LinearOracle(), Budget(9), recorder)
    assert layers(stack) == [
        "Patient", "Recorded", "RateLimited", "NearDuplicateBlock", "Replayed", "Metered", "LinearOracle",
    ]  # fmt: skip
    resumed = build(GUARDED, LinearOracle(), Budget(9), recorder, past=Past(0, ()))
    assert layers(resumed) == [
        "Patient", "Recorded", "RateLimited", "NearDuplicateBlock", "Replayed", "Metered", "LinearOracle",
    ]  # fmt: skip


class TestTheGuardedStack(OracleContract):
    def make(self) -> Oracle:
        return build(GUARDED, LinearOracle(), Budget(100), recorder_for_contracts())


def test_a_schema_is_told() -> None:
    fields = OracleSpec.model_json_schema()["properties"]
    assert set(fields) == set(OracleSpec.model_fields)


def test_a_plain_spec_adds_nothing_but_the_meter_and_what_goes_on_in_a_call() -> None:
    assert layers(build(OracleSpec(), LinearOracle(), Budget(9))) == ["Replayed", "Metered", "LinearOracle"]


def test_no_public_attribute_leads_to_the_model() -> None:
    model = LinearOracle()
    seen: set[int] = set()
    queue: list[object] = [build(EVERYTHING, model, Budget(9), MemoryRecorder())]
    while queue:
        value = queue.pop()
        if id(value) in seen or isinstance(value, type) or type(value).__module__ == "builtins":
            continue
        seen.add(id(value))
        assert value is not model
        assert not isinstance(value, torch.nn.Module)
        queue += [getattr(value, name) for name in dir(value) if not name.startswith("_")]
    assert seen


def test_a_resumed_stack_goes_on_with_the_noise() -> None:
    images = random_images(10)
    whole = MemoryRecorder()
    build(EVERYTHING, LinearOracle(), Budget(10), whole).query(images)
    parts = MemoryRecorder()
    build(EVERYTHING, LinearOracle(), Budget(10), parts).query(images[:3])
    build(EVERYTHING, LinearOracle(), Budget(10), parts, past=Past(3, ())).query(images[3:])
    assert b"".join(call.answers for call in parts.calls) == whole.calls[0].answers


def test_a_refusal_is_recorded_and_reaches_no_model() -> None:
    model, recorder = LinearOracle(), MemoryRecorder()
    stack = build(OracleSpec(), model, Budget(4), recorder)
    with pytest.raises(BudgetExhausted):
        stack.query(random_images(5))
    assert model.images_seen == 0
    assert recorder.refusals == [(None, 5, "budget")]


def test_top_k_beyond_the_classes_cannot_be_built() -> None:
    with pytest.raises(InvalidSpec, match="1 to 5"):
        build(OracleSpec(top_k=6), LinearOracle(5), Budget(9))


def test_json_is_plain_data() -> None:
    assert json.loads(OracleSpec(top_k=3).to_json())["top_k"] == 3


def test_the_services_of_the_documentation_can_be_built() -> None:
    page = (Path(__file__).parents[2] / "docs" / "services.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    services = [block for block in blocks if "[[zoos]]" not in block]  # the rest is of a study file
    assert len(services) == len(blocks) - 1 == 3
    for block in services:
        spec = OracleSpec.from_toml(block)
        assert spec.timed
        build(spec, LinearOracle(20), Budget(9)).query(random_images(2))
    for field in ("rate_burst", "near_duplicate_share", "near_duplicate_window", "real_time"):
        assert f"`{field}" in page
