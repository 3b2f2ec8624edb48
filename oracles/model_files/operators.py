"""Which of torch's own operators a model file may not call: those that open files, or trust sizes unchecked."""

from __future__ import annotations

REFUSED = r"save|from_file|_reshape_alias|_sparse_\w+_unsafe|_nested_view_from_buffer\w*"
"""A pattern of their names below `aten::`; `torch._C._jit_get_all_schemas()` lists all.

The first two open files, for writing too. The others take sizes, offsets or indices on trust and reach memory beyond
their tensors (seen with torch 2.13: `_reshape_alias` of 4 numbers to 100,000 reads what lies behind them).
"""
