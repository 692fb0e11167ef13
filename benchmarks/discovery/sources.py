"""Hash code, so that runs computed by other code than today's are computed again."""

import ast
import hashlib
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Packages whose code decides what a controller proposes.
_DECIDING = (
    "mnas_search.benchmarks.discovery.peers.",
    "mnas_search.controllers.",
    "mnas_search.nas.space.",
    "mnas_search.nas.surrogate.",
)


def source_hash(made: Any) -> str:
    """Hash the module that defines a class or function, and the deciding ones it imports."""
    return source_hash_of_file(Path(inspect.getfile(made)).resolve())


def source_hash_of_file(file: Path) -> str:
    """Hash a file likewise; comments and docstrings do not count."""
    trees: dict[Path, str] = {}
    _collect(file, trees)
    return hashlib.sha256("".join(trees.values()).encode()).hexdigest()[:16]


def _collect(file: Path, trees: dict[Path, str]) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [name for name in _imported(tree) if name.startswith(_DECIDING)]
    trees[file] = ast.dump(_WithoutDocstrings().visit(tree))
    for other in filter(None, map(_module_file, names)):
        if other not in trees:
            _collect(other, trees)


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield f"{node.module}."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_file(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name.rstrip("."))
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None
