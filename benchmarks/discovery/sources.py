"""Hashes of code: what was computed by other code than today's is computed again."""

import ast
import hashlib
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Modules that say what things are, not what is done: a change there that matters breaks loudly.
_CONTRACTS = frozenset(
    f"mnas_search.{name}"
    for name in (
        "architecture",
        "benchmarks.discovery.problems",
        "benchmarks.discovery.searchers",
        "errors",
        "interfaces",
        "plugins",
        "trials",
    )
)


def source_hash(made: Any) -> str:
    """Hash of the module that defines a class or function, and of what it imports of ours."""
    return source_hash_of_file(Path(inspect.getfile(made)).resolve())


def source_hash_of_file(file: Path) -> str:
    """The same of a file; comments and docstrings change nothing in what runs."""
    digest = hashlib.sha256()
    for each in _files(file, {}).values():
        digest.update(each.encode())
    return digest.hexdigest()[:16]


def _files(file: Path, seen: dict[Path, str]) -> dict[Path, str]:
    """The file and all modules of ours behind it, with their bare code, in order of import."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = list(_imported(tree))
    seen[file] = ast.dump(_bare(tree))
    for name in imported:
        if name.startswith("mnas_search.") and name not in _CONTRACTS:
            other = _module_file(name)
            if other is not None and other not in seen:
                _files(other, seen)
    return seen


def _module_file(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name inside a module
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).resolve()


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
