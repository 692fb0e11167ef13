"""The source of some classes with all that they need, for a file that imports torch alone."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

from torch import nn

from mnas_search.errors import InvalidArchitecture
from mnas_search.networks import layers

# What the exported file defines itself, and the imports it has anyway.
_GIVEN = {"Plan", "Norm"}
_FREE_MODULES = {"torch", "math", "functools", "collections", "typing", "dataclasses"}


def definitions(
    classes: tuple[type[nn.Module], ...],
    *,
    also: Iterable[str] = (),
    rewrite: Callable[[str, str], str] = lambda name, source: source,
) -> tuple[tuple[str, ...], str]:
    """(import lines of plug-ins, source of the classes and of all that they refer to).

    Names are followed through `mnas_search.networks.layers` and the modules of the classes.
    `rewrite` gives the source to write, from a name and its own source. Raises
    `InvalidArchitecture` for a class whose module imports something else than torch and
    `mnas_search.networks.layers`.
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
                imports += _allowed_import(statement, module)
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


def _allowed_import(statement: ast.Import | ast.ImportFrom, module: ModuleType) -> list[str]:
    if isinstance(statement, ast.ImportFrom):
        names = [statement.module or ""]
    else:
        names = [alias.name for alias in statement.names]
    if names == [layers.__name__]:
        return []  # its definitions are copied
    for name in names:
        if name.split(".")[0] not in _FREE_MODULES:
            raise InvalidArchitecture(
                f"{module.__name__} imports {name!r}; a block kind that is exported to model.py "
                f"may import torch and {layers.__name__}"
            )
    return [ast.unparse(statement)]
