"""A local model asked about a few images before a scan: chance, neighbours, and whether our faster form is faithful."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from oracles.agreement import check_images, distance
from oracles.callable_model import callable_oracle
from oracles.errors import ModelError
from oracles.torch_model import TorchOracle, check_answers
from oracles.torch_options import TorchOptions

SHAPE = (3, 8, 8)
IMAGES = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(3))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
    ).eval()


class Functional(nn.Module):
    """A network whose forward ignores eval mode in one place."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.net, self.kind = net(), kind

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.kind == "dropout":
            images = nn.functional.dropout(images, 0.5, training=True)
        if self.kind == "batch norm":
            images = nn.functional.batch_norm(images, None, None, training=True)
        if self.kind == "neighbours":
            images = images - images.mean(dim=0)
        return self.net(images)  # type: ignore[no-any-return]


class Typed(nn.Module):
    """Casts inside: its own code names the type of its weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.dtype = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).to(dtype), dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images.to(self.dtype)).to(torch.float32)  # type: ignore[no-any-return]


class ByLayout(nn.Module):
    """Reads the numbers in the order in which they lie in memory."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(192, 4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.as_strided((len(images), 192), (192, 1)) @ self.weight


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dropout", "differently each time"),
        ("batch norm", "depends on the other images of its batch"),
        ("neighbours", "depends on the other images of its batch"),
    ],
)
def test_answers_that_depend_on_chance_or_neighbours_are_said(kind: str, said: str) -> None:
    oracle = TorchOracle(Functional(kind), SHAPE)
    check_answers(oracle, IMAGES)
    assert any(said in note for note in oracle.notes)


@pytest.mark.parametrize("model", [net(), Functional("none")])
def test_a_sound_model_runs_in_its_faster_form_without_a_note(model: nn.Module) -> None:
    oracle = TorchOracle(model, SHAPE)
    check_answers(oracle, IMAGES)
    assert (oracle.form, oracle.notes) == ("faster", ())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scripted", [False, True])
def test_a_model_that_casts_inside_runs_as_it_is(dtype: torch.dtype, scripted: bool) -> None:
    model: nn.Module = Typed(dtype).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(model, IMAGES[:2])  # type: ignore[no-untyped-call]
    oracle = TorchOracle(script if scripted else model, SHAPE, n_classes=4)
    check_answers(oracle, IMAGES)
    assert oracle.form == "as it is"
    assert oracle.notes == ("the model runs as it is: its faster form fails",)
    scores = torch.from_numpy(oracle.query(IMAGES).values)  # type: ignore[union-attr]
    torch.testing.assert_close(scores, model(IMAGES).softmax(dim=1), atol=1e-5, rtol=1e-5)


def test_a_model_that_depends_on_the_layout_runs_as_it_is() -> None:
    model = ByLayout()
    oracle = TorchOracle(model, SHAPE, n_classes=4)
    check_answers(oracle, IMAGES)
    assert oracle.form == "as it is"
    assert "the answers of its faster form differ by" in oracle.notes[0]
    scores = torch.from_numpy(oracle.query(IMAGES).values)  # type: ignore[union-attr]
    torch.testing.assert_close(scores, model(IMAGES).softmax(dim=1))


def test_a_model_in_float64_that_takes_no_float32_runs_in_the_faster_form() -> None:
    oracle = TorchOracle(net().double(), SHAPE)
    check_answers(oracle, IMAGES)
    assert (oracle.form, oracle.notes) == ("faster", ())


def test_bfloat16_that_was_asked_for_is_no_difference() -> None:
    oracle = TorchOracle(net(), SHAPE, TorchOptions(precision="bfloat16"))
    check_answers(oracle, IMAGES)
    assert oracle.form == "faster"


def test_a_function_and_a_module_without_weights_are_not_asked() -> None:
    asked: list[int] = []

    def service(images: object) -> torch.Tensor:
        asked.append(len(images))  # type: ignore[arg-type]
        return torch.zeros(len(images), 4)  # type: ignore[arg-type]

    oracle = callable_oracle(service, SHAPE, 4)
    assert isinstance(oracle, TorchOracle)
    check_answers(oracle, IMAGES)
    assert (asked, oracle.form) == ([], "")


def test_it_is_asked_once() -> None:
    model = net()
    seen: list[int] = []
    model.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    oracle = TorchOracle(model, SHAPE)
    seen.clear()
    check_answers(oracle, IMAGES)
    check_answers(oracle, IMAGES)
    assert sum(seen) == 36


class Baked(nn.Module):
    """A model whose batch size is baked in, as a trace of code with a fixed reshape has it."""

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.model, self.batch = model, batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images).reshape(self.batch, 4)  # type: ignore[no-any-return]


def baked(model: nn.Module, batch: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Baked(model, batch).eval(), IMAGES[:batch], check_trace=False)  # type: ignore[no-untyped-call]
    assert isinstance(traced, nn.Module)
    return traced


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("kind", ["none", "dropout", "neighbours", "batch norm"])
def test_a_model_with_a_batch_size_baked_in_is_checked_like_any_other(kind: str, batch: int) -> None:
    oracle = TorchOracle(baked(Functional(kind), batch), SHAPE, TorchOptions(chunk=batch), 4)
    check_answers(oracle, IMAGES)
    said = {"none": "", "dropout": "differently each time"}.get(kind, "depends on the other images of its batch")
    if batch == 1 and kind in ("neighbours", "batch norm"):  # an image alone in its batch has no neighbours
        said = ""
    assert [said in note for note in oracle.notes] == ([True] if said else [])
    assert oracle.form == "faster"


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_a_model_with_a_batch_size_baked_in_that_casts_inside_runs_as_it_is(batch: int) -> None:
    model = Typed(torch.bfloat16).eval()
    oracle = TorchOracle(baked(model, batch), SHAPE, TorchOptions(chunk=batch), 4)
    check_answers(oracle, IMAGES)
    assert (oracle.form, oracle.notes) == ("as it is", ("the model runs as it is: its faster form fails",))
    scores = torch.from_numpy(oracle.query(IMAGES).values)  # type: ignore[union-attr]
    torch.testing.assert_close(scores, model(IMAGES).softmax(dim=1), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_random_model_is_said_to_be_random_and_not_that_its_faster_form_differs(chunk: int) -> None:
    oracle = TorchOracle(Functional("dropout"), SHAPE, TorchOptions(chunk=chunk))
    check_answers(oracle, IMAGES)
    (note,) = oracle.notes
    assert "differently each time" in note
    assert oracle.form == "faster"


class RandomAndTyped(Typed):
    """Casts inside, and draws."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(images), 0.5, training=True)


def test_a_random_model_whose_faster_form_fails_runs_as_it_is_and_says_both() -> None:
    oracle = TorchOracle(RandomAndTyped(torch.bfloat16), SHAPE, n_classes=4)
    check_answers(oracle, IMAGES)
    assert oracle.form == "as it is"
    assert [note.split(" (")[0] for note in oracle.notes] == [
        "the model runs as it is: its faster form fails",
        "the model answers the same images differently each time",
    ]


class Fails(Typed):
    """Fails on every image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such operator")


def test_where_both_forms_fail_nothing_is_said_and_the_first_query_tells() -> None:
    oracle = TorchOracle(Fails(torch.float32), SHAPE, n_classes=4)
    check_answers(oracle, IMAGES)
    assert oracle.notes == ()
    with pytest.raises(ModelError, match="no such operator"):
        oracle.query(IMAGES)


def test_blank_images_are_replaced_by_noise() -> None:
    assert torch.equal(check_images(IMAGES), IMAGES[:8])
    made = check_images(torch.full((20, *SHAPE), 0.5))
    assert made.shape == (8, *SHAPE)
    assert float(made.amin()) < 0.1 < 0.9 < float(made.amax())


def test_the_distance_is_relative_to_the_largest_number() -> None:
    own = torch.tensor([[10.0, -20.0], [1.0, float("nan")]])
    assert distance(own, own) == 0.0
    assert distance(own + torch.tensor([[0.0, 2.0], [0.0, 0.0]]), own) == pytest.approx(0.1)
    assert distance(torch.zeros(2, 2), own) == float("inf")
