"""The sentence under each field of a dataclass: settings are described where they are declared."""

from __future__ import annotations

import ast
import inspect
import textwrap


def field_docs(kind: type) -> dict[str, str]:
    """The string literal below each annotated field of the class body, in order; fields without one are left out.

    Reads the source of the class, so it is meant for documentation and not for scans. Raises OSError without source.
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    documented = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = ast.literal_eval(below.value)
            documented[field.target.id] = " ".join(text.split())
    return documented
