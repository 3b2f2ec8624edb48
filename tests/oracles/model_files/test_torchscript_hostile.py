"""Everything that a TorchScript archive could act with is refused before torch sees it, and the refusal says where."""

from __future__ import annotations

import enum
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from oracles.model_files.torchscript import checked_archive
from tests.oracles.model_files.files import refusal
from tests.oracles.model_files.hostile import Plain, code_replaced, rewritten, script

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CANARY = b"................"
FLATTEN = "torch.flatten(x, 1)"
OPENS = 'torch.from_file("canary", True, 16, dtype=0)'


@pytest.fixture(scope="module")
def plain() -> bytes:
    return script(Plain())


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 16 bytes in the current folder, which the scripts here would zero."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary").write_bytes(CANARY)
    return tmp_path / "canary"


def refused(data: bytes, canary: Path) -> str:
    path = canary.parent / "a.pt"
    path.write_bytes(data)
    said = refusal(path)
    assert canary.read_bytes() == CANARY
    return said


SPEECH = [
    (FLATTEN, OPENS, "hostile.Plain.forward calls aten::from_file"),
    (FLATTEN, "torch.zero_(torch.from_file('canary', True, 16, dtype=0))", "aten::from_file"),
    ("torch.add(rows1, step)", OPENS, "hostile.Plain.forward calls aten::from_file"),
    ("torch.relu(input)", f"torch.add(input, {OPENS})", "torch.nn.functional.relu calls aten::from_file"),
    ("torch.linear(", "ops.inductor._mm_plus_mm(", "Linear.forward calls inductor::_mm_plus_mm"),
    ("torch.linear(", "ops.prim.PythonOp(", "Linear.forward calls prim::PythonOp"),
    ("torch.linear(", "torch.nn.functional.linear(", "Linear.forward holds torch.nn.functional.linear()"),
    ("torch.linear(", "torch.set_(", "calls aten::set_"),
    ("torch.linear(", "torch.segment_reduce(", "calls aten::segment_reduce"),
    ("torch.linear(", "torch._convert_indices_from_csr_to_coo(", "aten::_convert_indices_from_csr_to_coo"),
    (FLATTEN, 'x.from_file("canary")', "calls aten::from_file"),
    (FLATTEN, "fork(__torch__.torch.nn.functional.relu, x, False)", "holds fork()"),
    (FLATTEN, "awaitable(__torch__.torch.nn.functional.relu, x, False)", "holds awaitable()"),
    ("inplace: bool=False", f"inplace: Tensor={OPENS}", "torch.nn.functional.relu holds a default value"),
    ("Final[int] = 4", f"Final[Tensor] = {OPENS}", "hostile.Linear holds a default value"),
    ("  training : bool\n", f"  training : bool = bool({OPENS}[0])\n", "holds a default value"),
    ("class Linear(Module)", "class Linear(ModuleInterface)", "holds a class of the kind ModuleInterface"),
    ("class Linear(Module)", "class Linear(Capsule)", "holds a class of the kind Capsule"),
    (
        "class Linear(Module)",
        f"class E(Enum):\n  A : Tensor = {OPENS}\nclass Linear(Module)",
        "E holds A: Tensor",
    ),
    ("weight : Tensor", "weight : __torch__.torch.classes.quantized.LinearPackedParamsBase", "torch.classes"),
    ("    fc = self.fc\n", "    fc = self.fc\n    act = torch.from_file\n", "holds torch.from_file"),
    ("    fc = self.fc\n", "    fc = self.fc\n    act = x.from_file\n    act('canary')\n", "holds act()"),
    ("    fc = self.fc\n", "    fc = self.fc\n    def act(x: Tensor):\n      return x\n", "holds FunctionDef"),
    ("    fc = self.fc\n", "    fc = self.fc\n    act = lambda x: x\n", "holds Lambda"),
    ("    fc = self.fc\n", "    fc = self.fc\n    print('\\x1b[2J')\n", "holds print()"),
    ("    fc = self.fc\n", f"    fc = self.fc\n    x = {'-' * 150}x\n", "nested too deep"),
    ("def relu(", "def from_file(", "a function with the name of an operator that is not allowed"),
    ("class Linear(Module)", "x = 1\nclass Linear(Module)", "a statement outside of any function"),
]


@pytest.mark.parametrize(("old", "new", "says"), SPEECH)
def test_code_that_is_not_plain_is_refused(plain: bytes, canary: Path, old: str, new: str, says: str) -> None:
    assert says in refused(code_replaced(plain, old, new), canary)


def test_a_default_value_runs_where_torch_loads_the_file(plain: bytes, canary: Path) -> None:
    """The canary of the check above must sing where torch opens the same archive."""
    data = code_replaced(plain, "inplace: bool=False", f"inplace: Tensor=torch.zero_({OPENS})")
    (canary.parent / "a.pt").write_bytes(data)
    load: Callable[..., Any] = torch.jit.load
    with pytest.raises(RuntimeError):
        load(canary.parent / "a.pt")
    assert canary.read_bytes() == bytes(16)


CAST = [
    ("fc = self.fc", "fc = unchecked_cast(__torch__.tests.oracles.model_files.hostile.Linear, self)"),
    ("fc = self.fc", "fc = self.fc\n    x, y = unchecked_cast(Tuple[Tensor, Tensor], x)"),
    ("fc = self.fc", "fc = self.fc\n    x = unchecked_cast(List[Tuple[int, Tensor]], x)[0][1]"),
]


@pytest.mark.parametrize(("old", "new"), CAST)
def test_a_cast_without_a_check_is_refused(plain: bytes, canary: Path, old: str, new: str) -> None:
    assert "Plain.forward casts to" in refused(code_replaced(plain, old, new), canary)


def test_sparse_tensors_and_scales_beside_a_size_are_refused(plain: bytes, canary: Path) -> None:
    sparse = code_replaced(plain, FLATTEN, "torch.flatten(torch.zeros([2, 192], dtype=6, layout=1), 1)")
    assert "forward gives aten::zeros another layout" in refused(sparse, canary)
    scaled = "torch.flatten(torch.upsample_nearest2d(x, [8, 8], 1e-30, 1e-30), 1)"
    assert "gives aten::upsample_nearest2d another scales_h" in refused(code_replaced(plain, FLATTEN, scaled), canary)


TYPES = ["99", "torch.size(x)[0]", "ops.prim.min(6, torch.size(x)[0])", "-1", "9", "12"]


@pytest.mark.parametrize("number", TYPES)
def test_a_type_by_a_number_that_torch_does_not_check_is_refused(plain: bytes, canary: Path, number: str) -> None:
    """torch ends the process where a file gives 99."""
    data = code_replaced(plain, FLATTEN, f"torch.to(torch.flatten(x, 1), {number}, False, False, None)")
    assert "forward gives aten::to another dtype" in refused(data, canary)


def renamed(old: str, new: str) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    return lambda name, held: [(name.replace(old, new), held)]


def added(name: str, held: bytes = b"") -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    return lambda old, data: [(old, data), (name, held)] if old == "data.pkl" else [(old, data)]


MEMBERS = [
    (renamed("code/", "CODE/"), "member 'CODE/__torch__"),
    (renamed("data.pkl", "DATA.PKL"), "member 'DATA.PKL'"),
    (added("data.pkl"), "a member twice"),
    (added("Data.pkl"), "a member twice"),
    (added("code/__torch__/Torch/nn/functional.py"), "a member twice"),
    (added("../x"), "member '../x'"),
    (added("code/__torch__/..\\x.py"), "member"),
    (added("code/x.py"), "member 'code/x.py'"),
    (added("model.json", b"{}"), "member 'model.json'"),
    (added("bytecode.pkl"), "member 'bytecode.pkl'"),
    (added("data/"), "member 'data/'"),
    (added("code/__torch__/a\u00e9.py"), "member"),
    (added("code/__torch__/a.py", "é".encode()), "is no code"),
    (renamed("constants.pkl", "data/constants"), "is damaged"),
    (renamed("byteorder", "data/byteorder"), ""),
    (renamed("version", "data/version"), "of no known version"),
]


@pytest.mark.parametrize(("change", "says"), MEMBERS)
def test_members_are_those_that_torch_writes(
    plain: bytes, canary: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]], says: str
) -> None:
    data = rewritten(plain, change)
    if says:
        assert says in refused(data, canary)
    else:
        checked_archive(data)


def test_an_archive_of_two_folders_is_refused(plain: bytes, canary: Path) -> None:
    assert "2 folders" in refused(plain.replace(b"archive/version", b"brchive/version"), canary)


def pickled(change: Callable[[bytes], bytes]) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    return lambda name, held: [(name, change(held) if name == "data.pkl" else held)]


def swapped(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(held: bytes) -> bytes:
        assert old in held
        return held.replace(old, new, 1)

    return change


PICKLES = [
    (lambda held: pickle.dumps(CANARY), "which torch.jit.save does not write"),
    (lambda held: pickle.dumps([1], 2), "the opcode APPEND"),
    (lambda held: pickle.dumps(2**70, 2), "more than 64 bits"),
    (lambda held: b"\x80\x02cposix\nsystem\n(X\x02\x00\x00\x00lstR.", "a call of posix system"),
    (lambda held: held[: len(held) // 2], "damaged"),
    (swapped(b"M\x00\x03t", b"M\xff\x03t"), "a storage larger than its bytes"),
    (swapped(b"(K\x04K\xc0t", b"(K\x05K\xc0t"), "a tensor larger than its storage"),
    (swapped(b"hostile\nLinear", b"hostile\nLinea"), "an object of"),
    (swapped(b"\x88", b"K\x01"), "another type than bool in training"),
    (swapped(b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_sparse_tensor"), "_rebuild_sparse_tensor"),
    (swapped(b"FloatStorage", b"QInt8Storage"), "a storage of QInt8"),
    (lambda held: b"\x80\x02" + b")" + b"\x85" * 5000 + b".", "nesting too deep"),
]


@pytest.mark.parametrize(("change", "says"), PICKLES)
def test_pickles_hold_what_torch_writes(
    plain: bytes, canary: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    data = rewritten(plain, pickled(change))
    if says:
        assert says in refused(data, canary)


class Small(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small, self.fc = Small(), nn.Linear(192, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.fc(self.small(x).flatten(1))
        return rows


def test_an_object_of_another_class_than_the_code_states_is_refused(canary: Path) -> None:
    """torch's own reader puts it there, and reads a field that the object has no memory for."""
    data = code_replaced(
        script(Two()),
        "small : __torch__.tests.oracles.model_files.test_torchscript_hostile.Small",
        "small : __torch__.torch.nn.modules.linear.Linear",
    )
    assert "a value of another type than __torch__.torch.nn.modules.linear.Linear in small" in refused(data, canary)


class Fork(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = torch.jit.wait(torch.jit.fork(torch.flatten, x, 1))  # type: ignore[no-untyped-call]
        return rows


class Hooked(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def saving(module: Hooked, given: tuple[torch.Tensor], result: torch.Tensor) -> None:
    torch.save(result, "canary")


def test_forks_and_hooks_are_refused(canary: Path) -> None:
    assert "Fork.forward holds" in refused(script(Fork()), canary)
    model = nn.Sequential(Hooked())
    model[0].register_forward_hook(saving)
    assert "Hooked.saving calls aten::save" in refused(script(model), canary)


class Order(enum.Enum):
    FIRST = "first"
    LAST = "last"


class Ordered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.order = Order.LAST

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if self.order == Order.LAST else x


LISTED = 'class Order(Enum):\n  FIRST = "first"\n  LAST = "last"\n'
LAST = b"X\x04\x00\x00\x00last"
ORDER = b"c__torch__.tests.oracles.model_files.test_torchscript_hostile\nOrder\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_enum_of_plain_values_is_a_model() -> None:
    images = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
    loaded: Any = torch.jit.load(io.BytesIO(checked_archive(script(Ordered()))))  # type: ignore[no-untyped-call]
    assert torch.equal(loaded(images), images.flatten(1))


ENUMS = [
    ("  A : int\n", "holds A: int in an enum"),  # torch ends the process
    ("  def value(self: Tensor) -> int:\n    return 1\n", "in an enum"),
    ("  class Inner(Enum):\n    A = 1\n", "in an enum"),
    ("  LAST = 'other'\n", "a name or value twice"),
    ("  OTHER = 'last'\n", "a name or value twice"),
    ("  OTHER = 1\n", "values of several types"),
    ("  OTHER = True\n", "holds OTHER = True in an enum"),
    ("  OTHER = -1\n", "holds OTHER = -1 in an enum"),
    ("  OTHER = [1]\n", "holds OTHER = [1] in an enum"),
    ("  OTHER = 'a\\x00b'\n", "in an enum"),
    ("  OTHER = MORE = 'more'\n", "in an enum"),
    ("  OTHER[0] = 'more'\n", "in an enum"),
    ("  OTHER = Order\n", "holds OTHER = Order in an enum"),
    (f"  OTHER = {OPENS}\n", "in an enum"),
    ("class Order(Module):\n  training : bool\n", "holds a class twice"),
]


@pytest.mark.parametrize(("more", "says"), ENUMS)
def test_an_enum_lists_plain_values_of_one_type(canary: Path, more: str, says: str) -> None:
    assert says in refused(code_replaced(script(Ordered()), LISTED, LISTED + more), canary)


VALUES = [
    (swapped(LAST, b"X\x04\x00\x00\x00lost"), "no value of the enum"),
    (swapped(LAST, b"K\x01"), "no value of the enum"),
    (swapped(LAST, LAST + b"\x85"), "no value of the enum"),
    (swapped(LAST, ORDER + LAST + b"R"), "no value of the enum"),
    (swapped(ORDER, ORDER.replace(b"Order", b"Ordered")), "a call of"),
    (swapped(ORDER, ORDER.replace(b".tests", b" tests")), "a call of"),
    (swapped(ORDER + b"q\x04" + LAST + b"q\x05R", ORDER + b")\x81}b"), "an object of"),
    (swapped(ORDER + b"q\x04" + LAST + b"q\x05R", LAST), "another type than"),
]


@pytest.mark.parametrize(("change", "says"), VALUES)
def test_an_enum_holds_one_of_its_values(canary: Path, change: Callable[[bytes], bytes], says: str) -> None:
    """torch's own reader drops a value that it does not know, so that every later one takes another's place."""
    assert says in refused(rewritten(script(Ordered()), pickled(change)), canary)
