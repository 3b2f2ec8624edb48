"""The file of a service: what it says comes back, and what is wrong is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from oracles.errors import InvalidSpec, ModelError
from oracles.oracle import Oracle
from oracles.spec import OracleSpec
from simkit.errors import ConfigError
from studies.service.config import ModelEntry, ServiceConfig
from studies.service.models import open_entry
from tests.oracles.fakes import LinearOracle

FULL = """
listen = "127.0.0.1:0"
db = "provider.db"
keys = "KEYS.toml"
keep_pictures = "200 MB"
hosts = ["service.example"]

[[model]]
name = "cats"
file = "cats.onnx"
oracle = {top_k = 2, rate_limit = "10/second"}
classes = ["cat", "dog", "fox"]
image_shape = [3, 32, 32]
datatype = "UINT8"
max_batch = 16
settings = {mean = [0.5, 0.5, 0.5]}

[[model]]
name = "own"
file = "python:package.models:MODEL"
oracle = "label"

[[watch]]
detector = "blacklight"
action = "ban"
models = ["cats"]
settings = {threshold = 25}
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_text(FULL, encoding="utf-8")
    config = ServiceConfig.load(path)
    assert (config.address, config.keep_pictures, config.hosts) == (("127.0.0.1", 0), 200_000_000, ("service.example",))
    assert (config.db, config.keys) == (str(tmp_path / "provider.db"), str(tmp_path / "KEYS.toml"))
    cats, own = config.model
    assert (cats.file, own.file) == (str(tmp_path / "cats.onnx"), "python:package.models:MODEL")
    assert (cats.oracle, own.oracle) == (OracleSpec(top_k=2, rate_limit="10/second"), OracleSpec(label_only=True))
    assert (cats.classes, cats.image_shape, cats.datatype) == (("cat", "dog", "fox"), (3, 32, 32), "UINT8")
    assert (config.watch[0].action, config.watch[0].models) == ("ban", ("cats",))


def test_a_database_stays_as_it_is_and_a_file_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    for db, wanted in (("postgresql://u@h/d", "postgresql://u@h/d"), ("p.db", str(tmp_path / "p.db"))):
        path.write_text(f'db = "{db}"\nkeys = "K.toml"\n' + MODEL, encoding="utf-8")
        assert ServiceConfig.load(path).db == wanted


MODEL = '[[model]]\nname = "m"\nfile = "m.onnx"\n'
TOP = 'db = "p.db"\nkeys = "K.toml"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL, "db"),
        (TOP, "model"),
        (TOP + "model = []", "model"),
        ("nonsense", "is no TOML"),
        (TOP + "colour = 1\n" + MODEL, "no setting 'colour'"),
        (TOP + MODEL + MODEL, "two models have one name"),
        (TOP + MODEL + "classes = 1", "two classes or more"),
        (TOP + MODEL + 'classes = ["a", "a"]', "two classes have one name"),
        (TOP + MODEL + "max_batch = 0", "max_batch = 0"),
        (TOP + MODEL + "oracle = {top_k = 0}", "top_k = 0"),
        (TOP + MODEL + "oracle = {seconds_per_call = 1.0}", "simulated services"),
        (TOP + MODEL + 'oracle = "tops"', "no oracle spec"),
        (TOP + 'listen = "0.0.0.0:80"\n' + MODEL, "keys would travel in the clear"),
        (TOP + 'listen = "127.0.0.1"\n' + MODEL, "give an address and a port"),
        (TOP + 'listen = "127.0.0.1:99999"\n' + MODEL, "give an address and a port"),
        (TOP + 'tls_key = "k.pem"\n' + MODEL, "belong together"),
        (TOP + 'keep_pictures = "much"\n' + MODEL, "keep_pictures"),
        (TOP + MODEL + '[[watch]]\ndetector = "piha"\nmodels = ["x"]', "watch: no model 'x'"),
        (TOP + MODEL + '[[watch]]\ndetector = "piha"\naction = "shout"', "action"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "service.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        ServiceConfig.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "more", ['listen = "0.0.0.0:80"\nbehind_proxy = true\n', 'listen = "[::1]:8000"\n', 'listen = "localhost:8000"\n']
)
def test_where_a_service_may_listen(tmp_path: Path, more: str) -> None:
    path = tmp_path / "service.toml"
    path.write_text(TOP + more + MODEL, encoding="utf-8")
    assert ServiceConfig.load(path).address[1] in (80, 8000)


def test_a_missing_file_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        ServiceConfig.load(Path("no-such-file.toml"))


class Probabilities(torch.nn.Module):
    """Answers probabilities, which only its rows tell."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(images.flatten(1))).div(3) + torch.tensor([0.0, 0.0, 1.0]) * 0


def entry(**fields: Any) -> ModelEntry:
    return ModelEntry(**{"name": "m", "file": "m.onnx", "image_shape": (3, 2, 2)} | fields)


def test_a_model_is_opened_with_its_interface_and_settled_before_the_first_caller() -> None:
    opened = open_entry(
        entry(classes=("a", "b", "c"), max_batch=16, oracle=OracleSpec(rate_limit="5/second")), Probabilities()
    )
    interface = opened.interface
    assert (interface.classes, interface.image_shape, interface.max_batch) == (("a", "b", "c"), (3, 2, 2), 5)
    oracle: Any = opened.served.oracle
    assert oracle.output == "logits", "rows that do not sum to one"
    assert len(opened.served.sha256) == 64


def test_an_oracle_states_its_shape_and_its_classes_have_their_ids_as_names() -> None:
    model: Oracle = LinearOracle()
    opened = open_entry(entry(image_shape=None), model)
    assert (opened.interface.image_shape, opened.interface.classes) == ((3, 4, 4), ("0", "1", "2", "3", "4"))
    assert opened.served.oracle is model


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"classes": 4}, ModelError, "model m: .*3 scores"),
        ({"image_shape": None}, ConfigError, "model m: the file does not state the shape"),
        ({"oracle": OracleSpec(top_k=9)}, InvalidSpec, "model m: "),
        ({"settings": {"n_classes": 3}}, ConfigError, "model m: settings.n_classes is set by a key of its own"),
        ({"settings": {"colour": 3}}, ConfigError, "serve: model m: no setting 'colour'"),
        ({"settings": {"mean": "x"}}, ConfigError, "serve: model m: mean"),
        ({"settings": {"rate": "3/second"}}, ConfigError, "rate is no setting of a model; give it to --oracle"),
        ({"settings": {"rate_limit": "3/second"}}, ConfigError, "m: rate_limit is no setting .* or as `oracle` in"),
        ({"settings": {"top_k": 3}}, ConfigError, "m: top_k is no setting of a model; give it to --oracle"),
    ],
)
def test_a_model_that_does_not_fit_is_named(fields: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        open_entry(entry(**fields), Probabilities())


def said_of(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        ServiceConfig.load(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_up_to_three_problems_are_shown_with_their_places_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    second = '[[model]]\nname = "n"\nfile = "n.onnx"\n'
    said = said_of(path, TOP + MODEL + "max_batch = 0\n" + second + 'oracle = "tops"\ncolour = 1\n')
    assert said.startswith("[[model]] 1, max_batch = 0: ")
    assert "; [[model]] 2, oracle = 'tops': " in said
    assert "; [[model]] 2, no setting 'colour'" in said
    assert "more" not in said
    four = said_of(path, TOP + "[[model]]\nmax_batch = 0\n" + '[[watch]]\naction = "ban"\n')
    assert four.startswith("[[model]] 1, name: is not there; give it; [[model]] 1, file: is not there; give it; ")
    assert four.endswith("; and 1 more")


def test_no_internal_name_stands_in_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    assert said_of(path, TOP + 'tls_key = "k.pem"\n' + MODEL).startswith("tls_certificate and tls_key belong")
    assert said_of(path, TOP + MODEL + "classes = 0\n").count("[[model]] 1, classes = 0: ") == 1
    assert said_of(path, TOP + "model = 5\n").startswith("model = 5: ")
    assert "is not there" not in said_of(path, TOP + MODEL + "image_shape = [3, 32]\n")
