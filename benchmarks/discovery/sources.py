"""Hashes of code: what was computed by other code than today's is computed again."""

import ast
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def source_hash(made: Any) -> str:
    """Hash of the module that defines a class or function, and of what it imports of its own
    package."""
    package = getattr(inspect.getmodule(made), "__package__", None) or ""
    return source_hash_of_file(Path(inspect.getfile(made)).resolve(), package)


def source_hash_of_file(file: Path, package: str = "") -> str:
    """The same of a file; comments and docstrings change nothing in what runs."""
    digest = hashlib.sha256()
    for each in sorted(_files(file, package, set())):
        digest.update(ast.dump(_bare(ast.parse(each.read_text(encoding="utf-8")))).encode())
    return digest.hexdigest()[:16]


def _files(file: Path, package: str, seen: set[Path]) -> set[Path]:
    seen.add(file)
    for name in _imported(ast.parse(file.read_text(encoding="utf-8"))):
        below = name.removeprefix(f"{package}.") if package else name
        if package and below == name:
            continue
        other = file.parent / f"{below.replace('.', '/')}.py"
        if other.is_file() and other not in seen:
            _files(other, package, seen)
    return seen


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _bare(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                del body[0]
    return tree
