"""What is public says what it is, and a *Parameters* section names exactly the parameters there are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from docstrings import entries, sections
from repository import REPOSITORY, SOURCES, parsed, python_files

Function = ast.FunctionDef | ast.AsyncFunctionDef
FILES = [path for path in python_files(*SOURCES) if "tests" not in path.parts]


def _protocol_methods() -> set[str]:
    """Return names that a protocol of the core documents; classes that fulfil it need not say it again."""
    trees = [parsed(REPOSITORY / "badc_core" / name) for name in ("protocols.py", "scheduling.py")]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    protocols = [c for c in classes if any(ast.unparse(base) == "Protocol" for base in c.bases)]
    return {item.name for c in protocols for item in c.body if isinstance(item, Function)}


DOCUMENTED_BY_PROTOCOLS = _protocol_methods()


def _owed(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield what owes a docstring: the module, public functions and classes, and methods that override nothing."""
    yield "the module", tree
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            overriding = any(ast.unparse(base) != "Protocol" for base in node.bases)
            for item in node.body:
                if isinstance(item, Function) and not item.name.startswith("_"):
                    is_setter = any(
                        ast.unparse(d).endswith((".setter", ".validator", ".default")) for d in item.decorator_list
                    )
                    if not (overriding or is_setter or item.name in DOCUMENTED_BY_PROTOCOLS):
                        yield f"{node.name}.{item.name}", item


def _parameters(function: Function, *, method: bool) -> tuple[list[str], set[str]]:
    """Return the names that must be described, and those that may be."""
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    static = any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)
    optional = {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
    return names[1:] if method and not static else names, optional


def _fields(node: ast.ClassDef) -> tuple[list[str], set[str]]:
    """Return the names that the class's own section must describe, and those that may be."""
    for item in node.body:
        if isinstance(item, Function) and item.name == "__init__":
            return _parameters(item, method=True)
    declared = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    wanted, optional = [], set()
    for item in declared:
        name = ast.unparse(item.target)
        given_by_caller = not name.startswith("_") and "init=False" not in ast.unparse(item)
        if given_by_caller and "ClassVar" not in ast.unparse(item.annotation):
            wanted.append(name)
        else:
            optional.add(name.lstrip("_"))
    return wanted, optional


def _mismatches(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, Function | ast.ClassDef):
            continue
        section = sections(ast.get_docstring(node)).get("Parameters")
        if section is None:
            continue
        described = [name.lstrip("*") for names, _ in entries(section) for name in names]
        if isinstance(node, ast.ClassDef):
            wanted, optional = _fields(node)
            if node.bases:  # it may describe inherited ones again
                optional |= set(described) - set(wanted)
        else:
            wanted, optional = _parameters(node, method=_is_method(tree, node))
        if sorted(name for name in described if name not in optional) != sorted(wanted):
            yield f"{node.name} describes {described}, and has {wanted}"


def _is_method(tree: ast.Module, function: Function) -> bool:
    return any(isinstance(node, ast.ClassDef) and function in node.body for node in ast.walk(tree))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_public_things_have_docstrings(path: Path):
    silent = [name for name, node in _owed(parsed(path)) if not (ast.get_docstring(node) or "").strip()]
    assert silent == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_parameters_sections_name_the_parameters(path: Path):
    assert list(_mismatches(parsed(path))) == []


def test_the_check_sees_what_is_wrong():
    tree = ast.parse('''
class Box:
    """A box.

    Parameters
    ----------
    width, height
        In metres.
    """
    width: int
    depth: int

    def fill(self, what, /, *, slowly=False):
        """Fill it.

        Parameters
        ----------
        slowly
            No hurry.
        """

    def close(self): ...
    def lose(self): ...
    def _hide(self): ...

def public(): ...
''')
    assert list(_mismatches(tree)) == [
        "Box describes ['width', 'height'], and has ['width', 'depth']",
        "fill describes ['slowly'], and has ['what', 'slowly']",
    ]
    silent = [name for name, node in _owed(tree) if not ast.get_docstring(node)]
    assert silent == ["the module", "Box.lose", "public"]
