"""The torch operators that a model file may not call: those that open files, and those that do not check sizes."""

from __future__ import annotations

REFUSED = r"save|from_file|_reshape_alias|_sparse_\w+_unsafe|_nested_view_from_buffer\w*"
"""A pattern of their names below `aten::`; `torch._C._jit_get_all_schemas()` lists all operators.

The first two open files, also for writing. The others do not check sizes, offsets or indices and read memory outside
their tensors (seen with torch 2.13: `_reshape_alias` of 4 numbers to 100,000 reads the memory behind them).
"""
