from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from oracles.answers import FloatArray, Scores
from oracles.budget import Budget
from oracles.errors import InvalidSpec, ModelError
from oracles.oracle import ImageShape, Oracle
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle
from oracles.torch_options import Output, Precision, TorchOptions
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import random_images
from tests.oracles.nets import CLASSES, SHAPE, Answering, ViewNet, conv_net, reference, seeded

NAN = float("nan")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class TestPlainContract(OracleContract):
    def make(self) -> Oracle:
        return TorchOracle(conv_net(), SHAPE, TorchOptions(chunk=3))


class TestPythonContract(OracleContract):
    def make(self) -> Oracle:
        return TorchOracle(ViewNet([]), SHAPE)


class TestTorchScriptContract(OracleContract):
    def make(self) -> Oracle:
        return TorchOracle(torch.jit.script(conv_net()), SHAPE)


class TestBfloat16Contract(OracleContract):
    def make(self) -> Oracle:
        return TorchOracle(conv_net(), SHAPE, TorchOptions(precision="bfloat16"))


def values(oracle: Oracle, images: torch.Tensor) -> FloatArray:
    answer = oracle.query(images)
    assert isinstance(answer, Scores)
    return answer.values


def told(rows: list[list[float]], output: Output = "auto") -> TorchOracle:
    return TorchOracle(Answering(torch.tensor(rows)), SHAPE, TorchOptions(output=output))


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_probabilities_are_the_models_own(chunk: int) -> None:
    model, images = conv_net(), random_images(10, SHAPE)
    oracle = TorchOracle(model, SHAPE, TorchOptions(chunk=chunk))
    np.testing.assert_allclose(values(oracle, images), reference(model, images), atol=1e-5)
    assert oracle.output == "logits"


def test_bfloat16_is_near_and_not_equal() -> None:
    model, images = conv_net(), random_images(10, SHAPE)
    rough = values(TorchOracle(model, SHAPE, TorchOptions(precision="bfloat16")), images)
    exact = reference(model, images).numpy()
    assert 0.0 < np.abs(rough - exact).max() < 0.05


def test_pixels_are_normalised_by_channel() -> None:
    model, images = conv_net(), random_images(4, SHAPE)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    by_hand = (images - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
    oracle = TorchOracle(model, SHAPE, TorchOptions(mean=mean, std=std))
    np.testing.assert_allclose(values(oracle, images), reference(model, by_hand), atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_module_is_never_changed(training: bool) -> None:
    model = conv_net().train(training)
    before = copy.deepcopy(model.state_dict())
    expected = reference(copy.deepcopy(model).eval(), random_images(4, SHAPE))
    oracle = TorchOracle(model, SHAPE, TorchOptions(precision="bfloat16"))
    oracle.query(random_images(4, SHAPE))
    assert model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    exact = TorchOracle(model, SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_allclose(values(exact, random_images(4, SHAPE)), expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_answers_do_not_depend_on_the_number_of_threads(precision: Precision) -> None:
    images, threads = torch.rand(101, 3, 8, 8), torch.get_num_threads()
    told: list[bytes] = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            oracle = TorchOracle(conv_net(), (3, 8, 8), TorchOptions(precision=precision, chunk=10))
            told.append(values(oracle, images).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert told[0] == told[1] == told[2]


def test_other_threads_keep_their_number_of_torch_threads() -> None:
    def elsewhere() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    inside: list[int] = []
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert elsewhere() == 3
        oracle = TorchOracle(conv_net(), (3, 8, 8), TorchOptions(chunk=5))
        oracle.query(torch.rand(60, 3, 8, 8))
        assert oracle._pool is not None
        inside += oracle._pool.map(lambda _: torch.get_num_threads(), range(30))
        assert (set(inside), elsewhere(), torch.get_num_threads()) == ({1}, 3, 3)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", ["hook", "own class"])
def test_what_others_may_watch_runs_in_the_callers_thread(kind: str) -> None:
    seen: list[threading.Thread] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = conv_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(threading.current_thread())
            out: torch.Tensor = self.net(x)
            return out

    model: nn.Module = conv_net() if kind == "hook" else Watching()
    if kind == "hook":
        model.register_forward_pre_hook(lambda *_: seen.append(threading.current_thread()))
    TorchOracle(model, (3, 8, 8), TorchOptions(chunk=10)).query(torch.rand(40, 3, 8, 8))
    assert set(seen) == {threading.current_thread()}


def test_a_hook_sees_exactly_the_images_asked() -> None:
    seen: list[int] = []
    model, images = ViewNet(seen), random_images(250, SHAPE)
    oracle = TorchOracle(model, SHAPE)
    assert sum(seen) == 0, "the class count costs no image"
    answered = values(oracle, images)
    assert sum(seen) == 250
    np.testing.assert_allclose(answered, reference(model, images), atol=1e-5)


def test_metered_images_equal_forwarded_images() -> None:
    seen: list[int] = []
    budget = Budget(300)
    oracle = build(OracleSpec(top_k=2), TorchOracle(ViewNet(seen), SHAPE), budget)
    for count in (1, 120, 99):
        oracle.query(random_images(count, SHAPE))
    assert sum(seen) == budget.spent == 220


def test_a_model_may_overwrite_its_input() -> None:
    class Overwriting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sub_(7.0).mean(dim=(2, 3))

    for layout in (torch.contiguous_format, torch.channels_last):
        images = random_images(3, SHAPE).contiguous(memory_format=layout)
        before = images.clone()
        TorchOracle(Overwriting(), SHAPE).query(images)
        assert torch.equal(images, before)


def test_float64_models_are_taken() -> None:
    model, images = conv_net(), random_images(3, SHAPE)
    oracle = TorchOracle(copy.deepcopy(model).double(), SHAPE)
    np.testing.assert_allclose(values(oracle, images), reference(model, images), atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_torchscript_answers_as_the_model_does(traced: bool, frozen: bool) -> None:
    model, images = conv_net(), random_images(130, SHAPE)
    trace: Any = torch.jit.trace
    scripted = trace(model, images[:2]) if traced else torch.jit.script(model)
    oracle = TorchOracle(torch.jit.freeze(scripted) if frozen else scripted, SHAPE)
    np.testing.assert_allclose(values(oracle, images), reference(model, images), atol=1e-5)
    assert oracle.n_classes == CLASSES


def test_classes_are_inferred_where_zero_images_cannot_be_sent() -> None:
    seen: list[int] = []
    assert TorchOracle(ViewNet(seen), SHAPE).n_classes == CLASSES


def test_a_wrong_inference_shows_at_the_first_answer() -> None:
    oracle = TorchOracle(ViewNet([]), SHAPE, n_classes=7)
    with pytest.raises(ModelError, match="answers 4 scores per image, fewer than the 7"):
        oracle.query(random_images(1, SHAPE))


def test_a_wrong_class_count_shows_at_once_where_zero_images_can_be_sent() -> None:
    with pytest.raises(ModelError, match=r"answers 4 scores per image, fewer than the 7 .* or the right n_classes"):
        TorchOracle(conv_net(), SHAPE, n_classes=7)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12)])
def test_a_wrong_image_shape_shows_at_once(shape: ImageShape) -> None:
    wanted = ", ".join(map(str, shape))
    with pytest.raises(ModelError, match=rf"does not take images \(N, {wanted}\)") as caught:
        TorchOracle(conv_net(), shape)
    assert "\n" not in str(caught.value)


def test_a_model_that_ends_in_softmax_is_taken_for_probabilities() -> None:
    model = nn.Sequential(conv_net(), nn.Softmax(dim=1))
    oracle = TorchOracle(model, SHAPE)
    assert oracle.output == "probabilities"
    images = random_images(5, SHAPE)
    np.testing.assert_allclose(values(oracle, images), model(images).detach(), atol=1e-5)


def test_the_first_answer_decides_once() -> None:
    assert told([[0.1, 0.2, 0.3, 0.4]]).output == "auto"
    probabilities = told([[0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(values(probabilities, random_images(1, SHAPE)), [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    assert probabilities.output == "probabilities"
    mixed = told([[1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]])
    mixed.query(random_images(2, SHAPE))
    assert mixed.output == "logits"


def test_nan_is_an_answer_and_decides_nothing() -> None:
    oracle = told([[NAN] * 4])
    assert np.isnan(values(oracle, random_images(1, SHAPE))).all()
    assert oracle.output == "auto"
    one_bad = told([[0.1, 0.2, 0.3, 0.4], [NAN] * 4])
    answer = values(one_bad, random_images(2, SHAPE))
    np.testing.assert_array_equal(np.isnan(answer).any(axis=1), [False, True])
    assert one_bad.output == "probabilities"


def test_told_logits_are_not_second_guessed() -> None:
    answer = values(told([[0.1, 0.2, 0.3, 0.4]], "logits"), random_images(1, SHAPE))
    np.testing.assert_allclose(answer, torch.softmax(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), 1), rtol=1e-6)


def test_told_probabilities_are_checked() -> None:
    with pytest.raises(ModelError, match="output='logits'"):
        told([[1.0, 2.0, 3.0, 4.0]], "probabilities").query(random_images(1, SHAPE))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((torch.zeros(0, 4), torch.zeros(0, 4)), "answers 2 tensors"),
        ({"logits": torch.zeros(0, 4), "label": torch.zeros(0)}, "answers 2 tensors"),
        (None, "answers a NoneType"),
        (torch.zeros(8), "answers one number per image"),
        (torch.zeros(8, 4, 2), r"answers \(N, 4, 2\) for N images"),
        (torch.zeros(8, 1), "answers one number per image"),
    ],
)
def test_an_answer_of_another_kind_shows_at_once(rows: object, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        TorchOracle(Answering(rows), SHAPE)
    assert "\n" not in str(caught.value)


def test_too_few_rows_show_at_the_answer() -> None:
    with pytest.raises(ModelError, match=r"answers \(2, 4\) for 3 images"):
        told([[0.1, 0.2, 0.3, 0.4]] * 2).query(random_images(3, SHAPE))


class Raising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no such\nlayer")


def test_an_error_inside_the_model_is_chained_and_costs_nothing() -> None:
    budget = Budget(5)
    oracle = build(OracleSpec(), TorchOracle(Raising(), SHAPE), budget)
    with pytest.raises(ModelError, match="KeyError") as caught:
        oracle.query(random_images(3, SHAPE))
    assert isinstance(caught.value.__cause__, KeyError)
    assert "\n" not in str(caught.value)
    assert budget.spent == 0


def test_a_model_without_weights_needs_to_be_told_its_classes() -> None:
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("not yet")

    with pytest.raises(ModelError, match="give n_classes"):
        TorchOracle(Failing(), SHAPE)
    assert TorchOracle(Failing(), SHAPE, n_classes=3).n_classes == 3


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = conv_net()
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot make a private copy"):
        TorchOracle(model, SHAPE)


@pytest.mark.parametrize(
    "options",
    [
        {"output": "softmax"},
        {"precision": "float16"},
        {"chunk": 0},
        {"mean": (0.5,)},
        {"mean": (0.5,), "std": (0.0,)},
        {"mean": (NAN,), "std": (1.0,)},
        {"mean": (0.5,), "std": (1.0,)},
        {"device": "abacus"},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        TorchOracle(conv_net(), SHAPE, TorchOptions(**options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("mean", [None, (0.5, 0.5, 0.5)])
def test_a_device_that_is_not_there(mean: tuple[float, ...] | None) -> None:
    with pytest.raises(ModelError, match="private copy of the model on cuda"):
        TorchOracle(conv_net(), SHAPE, TorchOptions(mean=mean, std=mean, device="cuda"))


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 0)])
def test_an_impossible_image_shape(shape: Any) -> None:
    with pytest.raises(InvalidSpec, match="image_shape"):
        TorchOracle(conv_net(), shape)


def test_no_public_attribute_leads_to_the_weights() -> None:
    oracle = TorchOracle(seeded(conv_net()), SHAPE)
    public = [getattr(oracle, name) for name in dir(oracle) if not name.startswith("_") and name != "query"]
    assert {type(value) for value in public} <= {int, str, tuple, TorchOptions}


class Baked(nn.Module):
    """Takes `size` images at a time, by a number in its code; early: before its weights are used."""

    def __init__(self, size: int, early: bool) -> None:
        super().__init__()
        self.size, self.early, self.head = size, early, nn.Linear(3 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.head(x.reshape(self.size, -1) if self.early else x.flatten(1))
        return rows if self.early else rows.reshape(self.size, -1)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("size", [1, 2, 8])
@pytest.mark.parametrize("given", [None, 5])
def test_a_batch_size_baked_into_torchscript_works_by_chunks(size: int, early: bool, given: int | None) -> None:
    """The last chunk is filled up, and what fills it is in no answer."""
    model, images = Baked(size, early).eval(), random_images(19, (3, 8, 8))
    traced = torch.jit.trace(model, torch.rand(size, 3, 8, 8))  # type: ignore[no-untyped-call]
    oracle = TorchOracle(traced, (3, 8, 8), TorchOptions(chunk=size), given)
    assert oracle.n_classes == 5
    by_hand = torch.softmax(model.head(images.flatten(1)), 1).detach()
    np.testing.assert_allclose(values(oracle, images), by_hand, atol=1e-5)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("scripted", [True, False])
def test_another_chunk_than_the_baked_batch_is_named(early: bool, scripted: bool) -> None:
    model: nn.Module = Baked(8, early).eval()
    if scripted:
        model = torch.jit.trace(model, torch.rand(8, 3, 8, 8))  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match="set chunk") as caught:
        TorchOracle(model, (3, 8, 8), TorchOptions(chunk=3), 5).query(random_images(7, (3, 8, 8)))
    assert "0 images" not in str(caught.value)


def test_a_module_that_reshapes_to_one_row_takes_one_image_at_a_time() -> None:
    model, images = Baked(1, False).eval(), random_images(3, (3, 8, 8))
    oracle = TorchOracle(model, (3, 8, 8), TorchOptions(chunk=1))
    by_hand = torch.softmax(model.head(images.flatten(1)), 1).detach()
    np.testing.assert_allclose(values(oracle, images), by_hand, atol=1e-5)
