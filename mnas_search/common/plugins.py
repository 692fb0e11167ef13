"""Plug-ins: entry points, `file.py:Name` for single files, and Python objects of a program.

The framework imports no search space, controller, evaluator, exporter, data set or block kind by
name, not even its own: all are entry points of the groups below, loaded on first use.
"""

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from mnas_search.common import objects
from mnas_search.common.checks import did_you_mean
from mnas_search.common.errors import (
    UnknownName,
    UsageError,
    describe_exception,
    error_context,
)

GROUPS = ("search_spaces", "controllers", "evaluators", "exporters", "datasets", "blocks")
_FILE_MODULE = "_mnas_search_file_"
_STAND_INS = ContextVar[Mapping[str, Any]]("stand_ins", default=MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An installed plug-in: its name, its package and its entry point (`module:Name`)."""

    name: str
    package: str
    target: str


@functools.cache
def _installed(group: str) -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"mnas_search.{group}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise UsageError(
                f"two packages install {point.name!r} in {group}: {_package(other)} and "
                f"{_package(point)}; uninstall one"
            )
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def installed(group: str) -> tuple[Plugin, ...]:
    """Return all plug-ins of a group, sorted by name."""
    return tuple(
        Plugin(name=name, package=_package(point), target=point.value)
        for name, point in sorted(_installed(group).items())
    )


def load(group: str, name: str) -> Any:
    """Load the object `name`: an entry point of `group`, `path/to/file.py:Name`, or an object that
    `name_of` named; within `replaced`, what stands in for it."""
    if name in _STAND_INS.get():
        return _STAND_INS.get()[name]
    if objects.is_object(name):
        return objects.find(name)
    if is_file_reference(name):
        path, _, attribute = name.rpartition(":")
        module = load_file(Path(path))
        try:
            return getattr(module, attribute)
        except AttributeError:
            public = ", ".join(sorted(n for n in vars(module) if not n.startswith("_")))
            raise UnknownName(f"no {attribute!r} in {path}; it defines: {public}") from None
    points = _installed(group)
    if name not in points:
        what = group.removesuffix("s").replace("_", " ")
        known, hint = ", ".join(sorted(points)), did_you_mean(name, points)
        raise UnknownName(f"{what} must be one of {known}, or file.py:Name, got {name!r}{hint}")
    with error_context(f"loading {name!r} of the package {_package(points[name])}"):
        return points[name].load()


def name_of(group: str, value: Any) -> str:
    """Return the name of an object: that of a plug-in of `group`, or `python:NAME`."""
    place = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    found = (plugin.name for plugin in installed(group) if plugin.target == place)
    return next(found, objects.name_of(value))


@contextlib.contextmanager
def named(options: Mapping[str, Any], groups: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Give options with names in the place of objects, which are known within the context.

    Args:
        options: values by option; texts, paths and None stay as they are.
        groups: the plug-ins' group of each option that may be an object.
    """
    given: dict[str, Any] = {}
    names = dict(options)
    for option, group in groups.items():
        value = options.get(option)
        if value is None or isinstance(value, str | Path):
            continue
        names[option] = name = name_of(group, value)
        if given.setdefault(name, value) is not value:
            raise UsageError(f"{option} must have a name of its own, got {name!r} twice")
    with objects.known(given):
        yield names


@contextlib.contextmanager
def replaced(stand_ins: Mapping[str, Any]) -> Iterator[None]:
    """Have `load` give other objects in the place of those named, whose code is not run, within
    the context."""
    token = _STAND_INS.set(stand_ins)
    try:
        yield
    finally:
        _STAND_INS.reset(token)


def make(cls: Callable[..., Any], name: str, **arguments: Any) -> Any:
    """Construct a plug-in; arguments that it does not accept raise `UsageError`, other errors of
    its constructor `WorkFailed`."""
    with error_context(f"making {name!r}"):
        try:
            return cls(**arguments)
        except TypeError as error:
            takes = ", ".join(arguments) or "no arguments"
            raise UsageError(
                f"{name!r} cannot be made with {takes}: {describe_exception(error)}"
            ) from error


def parameters(target: Callable[..., Any]) -> Collection[str]:
    """Return the names of what a class or function takes; none where Python does not know."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # some of those that are not written in Python
        return ()


def is_file_reference(name: str) -> bool:
    """Tell whether `name` has the form `file.py:Name`."""
    return not objects.is_object(name) and name.rpartition(":")[0].endswith(".py")


def absolute(name: str) -> str:
    """Make the path of `file.py:Name` absolute; other names stay unchanged."""
    if not is_file_reference(name):
        return name
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).resolve()}:{attribute}"


def has_content(name: str) -> bool:
    """Tell whether `name` stands for what is the user's own, and may change between sessions."""
    return is_file_reference(name) or objects.is_object(name)


def content_hash(reference: str) -> str:
    """Compute the SHA-256 of the file of `file.py:Name`, or of a Python object."""
    if objects.is_object(reference):
        return objects.digest(reference)
    return hashlib.sha256(Path(reference.rpartition(":")[0]).read_bytes()).hexdigest()


@functools.cache
def load_file(path: Path) -> ModuleType:
    """Import a Python file as a module, once per process.

    As for a script of Python's own, modules beside it can be imported by name, then and later.
    """
    path = path.resolve()
    if not path.is_file():
        raise UnknownName(f"no file {str(path)!r}")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last: it hides no installed module
    name = f"{_FILE_MODULE}{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownName(f"{str(path)!r} must be a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a module up by its name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{path.name} does not load: {describe_exception(error)}") from error
    return module


def modules_from_files() -> tuple[ModuleType, ...]:
    """Return the modules of `load_file`, and those imported from beside their files: what another
    machine cannot import by name."""
    files = [m for name, m in sys.modules.items() if name.startswith(_FILE_MODULE)]
    folders = {Path(str(m.__file__)).parent for m in files}
    return tuple(m for m in sys.modules.values() if m in files or _is_beside(m, folders))


def _is_beside(module: ModuleType, folders: Collection[Path]) -> bool:
    """Tell whether a module was found by its name in one of the folders."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or module.__name__ == "__main__":
        return False
    path = Path(file)
    place = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return any(place == folder.joinpath(*module.__name__.split(".")) for folder in folders)
