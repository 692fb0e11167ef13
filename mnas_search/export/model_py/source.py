"""The source of classes and of everything they use, for a file that imports torch only."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable

from torch import nn

from mnas_search.networks import layers

# Names that the exported file defines itself, and modules that it may import.
_GIVEN = {"Plan", "Norm"}
_FREE_MODULES = {"torch", "math", "functools", "collections", "typing", "dataclasses"}


def definitions(
    classes: tuple[type[nn.Module], ...],
    *,
    also: Iterable[str] = (),
    rewrite: Callable[[str, str], str] = lambda name, source: source,
) -> tuple[tuple[str, ...], str]:
    """Return import lines of plug-ins, and the source of the classes and of all they refer to.

    Names are resolved in `mnas_search.networks.layers` and in the modules of the classes.
    `rewrite` maps a name and its source to the source to write. No class may have a
    `foreign_import`.
    """
    own: dict[str, tuple[str, ast.Module]] = {}
    imports: list[str] = []
    modules = [layers, *dict.fromkeys(sys.modules[cls.__module__] for cls in classes)]
    for module in dict.fromkeys(modules):
        text = inspect.getsource(module)
        for statement in ast.parse(text).body:
            for name in _defined(statement):
                source = rewrite(name, ast.get_source_segment(text, statement) or "")
                own[name] = (source, ast.parse(source))
            if module is not layers and isinstance(statement, ast.Import | ast.ImportFrom):
                if _imported(statement) != [layers.__name__]:  # its definitions are copied
                    imports.append(ast.unparse(statement))
    needed: set[str] = set()
    todo = [*(cls.__name__ for cls in classes), *also]
    while todo:
        name = todo.pop()
        if name in own and name not in needed and name not in _GIVEN:
            needed.add(name)
            todo += [n.id for n in ast.walk(own[name][1]) if isinstance(n, ast.Name)]
    return tuple(dict.fromkeys(imports)), "\n\n\n".join(
        text for name, (text, _) in own.items() if name in needed
    )


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    if isinstance(statement, ast.Assign):
        return [t.id for t in statement.targets if isinstance(t, ast.Name)]
    return []


def foreign_import(cls: type[nn.Module]) -> str | None:
    """Return a module that the module of a class imports, other than torch, the standard library
    and `mnas_search.networks.layers`, so that it cannot be exported; None if there is none."""
    module = sys.modules[cls.__module__]
    if module is layers:
        return None
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name in _imported(statement):
                if name != layers.__name__ and name.split(".")[0] not in _FREE_MODULES:
                    return name
    return None


def _imported(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.ImportFrom):
        return ["." * statement.level + (statement.module or "")]
    return [alias.name for alias in statement.names]
