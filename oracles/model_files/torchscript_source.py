"""Checks the code of a TorchScript archive as text, before torch sees it.

torch runs parts of that code while it compiles it: default values of arguments, of constants and of fields, and
operators on plain numbers and text. So the text is parsed here with Python's own parser, which knows a superset of the
language. Whatever is not on the list below is refused, and torch is given the text that is printed anew from the
checked tree, never the file's own. So it does not matter where the two parsers might disagree.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from oracles.errors import ModelError
from oracles.model_files.operators import allowed, known

_DEPTH, _NODES = 100, 5_000_000
_ROOT = "__torch__"

_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.If, ast.While, ast.For, ast.Expr, ast.Pass)
_MORE_STATEMENTS = (ast.Raise, ast.Assert, ast.With, ast.withitem, ast.Break, ast.Continue)
_VALUES = (ast.Name, ast.Attribute, ast.Call, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Subscript, ast.Slice)
_MORE_VALUES = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.keyword)
_PARTS = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
_BODY = _STATEMENTS + _MORE_STATEMENTS + _VALUES + _MORE_VALUES + _PARTS

_WORDS = "annotate unchecked_cast uninitialized getattr int float bool str len range min max abs isinstance list"
_BUILT_IN = frozenset(_WORDS.split())
_LISTED = frozenset({"__parameters__", "__buffers__", "__annotations__", "__forward_hooks__", "__forward_pre_hooks__"})

_PLAIN_TEXT = re.compile(r"[\w .,:;/+*()-]*", re.ASCII)
"""Text that Python and torch read alike: without quotes, backslashes and control characters."""


@dataclass(frozen=True)
class Source:
    """The code of an archive, checked.

    texts: by the name of the member, printed anew. fields: of each class by its full name, the type of each field.
    enums: of each enum by its full name, its values: all of one type, each once.
    """

    texts: Mapping[str, str]
    fields: Mapping[str, Mapping[str, ast.expr]]
    enums: Mapping[str, tuple[int | float | str, ...]]


def checked_source(members: Mapping[str, bytes]) -> Source:
    """The checked code. members: by name below the root folder, `code/__torch__/a/b.py`. Raises ModelError."""
    trees = {name: _parsed(name, data) for name, data in members.items()}
    own = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    fields: dict[str, Mapping[str, ast.expr]] = {}
    enums: dict[str, tuple[int | float | str, ...]] = {}
    for name, tree in trees.items():
        module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
        checked, classes = _Checked(module, own), [node for node in tree.body if isinstance(node, ast.ClassDef)]
        if len({node.name for node in classes}) != len(classes):
            raise ModelError(f"{name[:80]} holds a class twice")
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef) and _bases(statement) == ["Enum"]:
                enums[f"{module}.{statement.name}"] = checked.enum(statement)
            else:
                fields |= checked.top(statement)
    return Source({name: ast.unparse(tree) + "\n" for name, tree in trees.items()}, fields, enums)


def _parsed(name: str, data: bytes) -> ast.Module:
    try:
        tree = ast.parse(data.decode("ascii"), mode="exec")
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ModelError(f"{name[:80]} is no code that torch.jit.save writes ({type(error).__name__})") from error
    _check_depth(name, tree)
    return tree


def _check_depth(name: str, tree: ast.AST) -> None:
    """torch's parser descends once per level and ends the process where there are too many."""
    level, nodes = [tree], 0
    for _ in range(_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        nodes += len(level)
        if not level:
            return
        if nodes > _NODES:
            break
    raise ModelError(f"{name[:80]} is too long or nested too deep for the code of a classifier")


class _Checked:
    """Walks one class or function. where: its full name, for messages."""

    def __init__(self, where: str, own: set[str]) -> None:
        self._where, self._own = where, own

    def top(self, statement: ast.stmt) -> dict[str, Mapping[str, ast.expr]]:
        """The fields of the class, where the statement is one."""
        if isinstance(statement, ast.FunctionDef):
            self._function(statement)
            return {}
        if isinstance(statement, ast.ClassDef):
            return {f"{self._where}.{statement.name}": self._class(statement)}
        if not (isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "op_version_set"):
            raise self._refusal("a statement outside of any function")
        return {}

    def _class(self, node: ast.ClassDef) -> Mapping[str, ast.expr]:
        inner, fields = _Checked(f"{self._where}.{node.name}", self._own), {}
        bases = _bases(node)
        if bases not in ([], ["Module"], ["NamedTuple"]) or node.keywords or node.decorator_list:
            raise self._refusal(f"a class of the kind {', '.join(bases)[:80]}")
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef):
                inner._function(statement)
            elif isinstance(statement, ast.AnnAssign):
                constant = ast.unparse(statement.annotation).startswith("Final[")
                if statement.value is not None and not (constant and _literal(statement.value)):
                    raise inner._refusal("a default value")
                inner._type(statement.annotation)
                if not constant:
                    fields[ast.unparse(statement.target)] = statement.annotation
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                fields |= inner._listed(statement.targets[0], statement.value)
            elif not isinstance(statement, ast.Pass):
                raise inner._refusal("a statement outside of any function")
        return fields

    def enum(self, node: ast.ClassDef) -> tuple[int | float | str, ...]:
        """The values of an enum. torch's reader drops a value that is none of them, and what follows shifts by one."""
        inner = _Checked(f"{self._where}.{node.name}", self._own)
        if node.keywords or node.decorator_list:
            raise inner._refusal("more than values")
        members = dict(map(inner._member, node.body))
        values = [*members.values()]
        if len(members) != len(node.body) or len({*values}) != len(values) or len({*map(type, values)}) != 1:
            raise inner._refusal("a name or value twice, or values of several types")
        return tuple(values)

    def _member(self, statement: ast.stmt) -> tuple[str, int | float | str]:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str() as text)):
                if _PLAIN_TEXT.fullmatch(text):
                    return name, text
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int() | float() as number)):
                if type(number) is not bool:
                    return name, number
        raise self._refusal(f"{ast.unparse(statement).splitlines()[0][:80]} in an enum")

    def _listed(self, target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
        """A list of names (`__parameters__ = [..]`), or the type of a field whose name is no identifier."""
        if isinstance(target, ast.Name) and target.id in _LISTED and _literal(value):
            return {}
        if (
            isinstance(target, ast.Subscript)
            and ast.unparse(target.value) == "__annotations__"
            and _literal(target.slice)
        ):
            self._type(value)
            return {ast.literal_eval(target.slice): value}
        raise self._refusal("a statement outside of any function")

    def _function(self, node: ast.FunctionDef) -> None:
        inner, arguments = _Checked(f"{self._where}.{node.name}", self._own), node.args
        if node.name == "__setstate__":
            raise ModelError(f"it would run code while being loaded (__setstate__ of {self._where}); trace it again")
        if not all(map(_literal, arguments.defaults)):
            raise inner._refusal("a default value")
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs or arguments.kwonlyargs or node.decorator_list:
            raise inner._refusal("a decorator or arguments of another kind")
        if not known(node.name) and _is_operator(node.name):
            raise inner._refusal("a function with the name of an operator that is not allowed")
        for annotation in [node.returns, *(argument.annotation for argument in arguments.args)]:
            if annotation is not None:
                inner._type(annotation)
        inner._body(node)

    def _body(self, node: ast.FunctionDef) -> None:
        called = _functions_among_variables(node)
        functions = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
        for part in (part for statement in node.body for part in ast.walk(statement)):
            if not isinstance(part, _BODY):
                raise self._refusal(type(part).__name__)
            if isinstance(part, ast.Call):
                self._call(part, called)
            if isinstance(part, ast.Constant) and not isinstance(part.value, bool | int | float | complex | str | None):
                raise self._refusal(f"a constant of type {type(part.value).__name__}")
            if isinstance(part, ast.AnnAssign):
                self._type(part.annotation)
            if isinstance(part, ast.Attribute) and id(part) not in functions and _is_library(part):
                raise self._refusal(f"{ast.unparse(part)[:80]} as a value")
            if isinstance(part, ast.Attribute) and part.attr in ("classes", "__setstate__"):
                raise self._refusal(ast.unparse(part)[:80])

    def _call(self, node: ast.Call, called: frozenset[str]) -> None:
        """Operators by name, functions and methods of this archive, and the few words of the language."""
        path = ast.unparse(node.func)
        first, *rest = path.split(".")
        if isinstance(node.func, ast.Name):
            if path not in _BUILT_IN and path not in called:
                raise self._refusal(f"{path[:80]}()")
        elif not isinstance(node.func, ast.Attribute):
            raise self._refusal("a call of a value")
        elif first == "torch" and len(rest) == 1:
            self._operator("aten", rest[0], node)
        elif first == "ops" and len(rest) == 2:
            self._operator(rest[0], rest[1], node)
        elif first in ("torch", "ops", "CONSTANTS"):
            raise self._refusal(f"{path[:80]}()")
        elif first != _ROOT and node.func.attr not in self._own:
            self._operator("aten", node.func.attr, node)

    def _operator(self, namespace: str, name: str, node: ast.Call) -> None:
        if (namespace, name) == ("aten", "device") and len(node.args) == 1 and _device(node.args[0]):
            return
        if not (known(name) if namespace == "aten" else allowed(namespace, name)):
            shown = f"{namespace[:40]}::{name[:80]}"
            raise ModelError(
                f"{self._where} calls {shown}, which is not among the operators that a model file may call"
            )

    def _type(self, annotation: ast.expr) -> None:
        for node in ast.walk(annotation):
            if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Tuple | ast.List | ast.expr_context):
                raise self._refusal("a type that is an expression")
            if isinstance(node, ast.Attribute) and node.attr == "classes":
                raise self._refusal(f"{ast.unparse(node)[:80]}, a class of torch's own")

    def _refusal(self, what: str) -> ModelError:
        return ModelError(f"{self._where} holds {what}, which the code of a classifier does not need")


def _bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base) for base in node.bases]


def _is_library(part: ast.Attribute) -> bool:
    return isinstance(part.value, ast.Name) and part.value.id == "torch"


def _device(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(":")[0] in ("cpu", "cuda")
    )


def _literal(node: ast.expr) -> bool:
    """Numbers, text, and lists and tuples of them, negative numbers too."""
    if isinstance(node, ast.List | ast.Tuple):
        return all(map(_literal, node.elts))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None)


def _is_operator(name: str) -> bool:
    return bool(torch._C._jit_get_schemas_for_operator(f"aten::{name}"))


def _functions_among_variables(node: ast.FunctionDef) -> frozenset[str]:
    """The variables that only ever stand for a function or class of this archive (`_0 = __torch__.a.b`)."""
    own, other = set[str](), {argument.arg for argument in node.args.args}
    for part in ast.walk(node):
        if isinstance(part, ast.Assign) and len(part.targets) == 1 and isinstance(part.targets[0], ast.Name):
            is_own = isinstance(part.value, ast.Attribute) and ast.unparse(part.value).startswith(f"{_ROOT}.")
            (own if is_own else other).add(part.targets[0].id)
        elif isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.withitem):
            other |= {
                name.id for name in ast.walk(part) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
    return frozenset(own - other)
