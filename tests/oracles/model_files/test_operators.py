from __future__ import annotations

import pytest
import torch

from oracles.model_files.operators import allowed, argument_allowed, known


def test_operators_are_allowed_by_name_and_where_needed_by_overload() -> None:
    assert allowed("aten", "conv2d")
    assert allowed("aten", "add_", "Tensor")
    assert allowed("aten", "__and__", "bool")
    assert allowed("aten", "view")
    assert not allowed("aten", "view", "dtype")
    assert allowed("aten", "div", "out")
    assert not allowed("aten", "add", "out")
    assert allowed("prim", "If")
    assert not allowed("prim", "PythonOp")


REFUSED = """
    save from_file set_ resize_ as_strided _reshape_alias _reshape_alias_copy _unsafe_index _unsafe_index_put
    segment_reduce sparse_coo_tensor sparse_csr_tensor to_dense to_sparse _convert_indices_from_csr_to_coo device
    native_batch_norm _scaled_dot_product_flash_attention_for_cpu _embedding_bag
    quantize_per_tensor _nested_view_from_buffer wait
"""


@pytest.mark.parametrize("name", REFUSED.split())
def test_what_reaches_beyond_tensors_or_checks_no_size_is_refused(name: str) -> None:
    assert torch._C._jit_get_schemas_for_operator(f"aten::{name}")
    assert not known(name)


@pytest.mark.parametrize("namespace", sorted({s.name.partition("::")[0] for s in torch._C._jit_get_all_schemas()}))
def test_no_other_namespace_than_the_two_is_allowed(namespace: str) -> None:
    names = [s.name.partition("::")[2] for s in torch._C._jit_get_all_schemas() if s.name.startswith(f"{namespace}::")]
    assert any(allowed(namespace, name) for name in names) == (namespace in ("aten", "prim"))


@pytest.mark.parametrize(
    ("name", "value", "may"),
    [
        ("layout", 0, True),
        ("layout", 1, False),
        ("dtype", 6, True),
        ("dtype", None, True),
        ("dtype", 99, False),
        ("dtype", -1, False),
        ("dtype", 12, False),
        ("dtype", True, False),
        ("memory_format", 2, True),
        ("memory_format", 9, False),
        ("scales_h", 2.0, True),
        ("scales_h", 1e-30, False),
        ("scales_h", float("nan"), False),
    ],
)
def test_arguments_that_torch_does_not_check(name: str, value: object, may: bool) -> None:
    assert argument_allowed(name, value) == may
