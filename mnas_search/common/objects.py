"""Python objects in the place of plug-in names.

A search from Python may be given a class, a function or a value where a name is expected. Such an
object goes by the name `python:NAME`, so that a configuration stays text, and is found under it
while the call lasts (`known`). `config.json` holds the name and a digest of the object's code.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import partial
from types import CellType, CodeType, MappingProxyType
from typing import Any

from mnas_search.common.errors import UnknownName

_PREFIX = "python:"
_KNOWN = ContextVar[Mapping[str, Any]]("known", default=MappingProxyType({}))


def name_of(value: Any) -> str:
    """Return the name under which an object is known and recorded."""
    own = getattr(value, "__name__", getattr(value, "name", None))
    return f"{_PREFIX}{own if isinstance(own, str) else type(value).__name__}"


def is_object(name: str) -> bool:
    """Tell whether `name` stands for a Python object."""
    return name.startswith(_PREFIX)


@contextmanager
def known(objects: Mapping[str, Any]) -> Iterator[None]:
    """Make objects known by their names within the context."""
    token = _KNOWN.set({**_KNOWN.get(), **objects})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def find(name: str) -> Any:
    """Return the object of a name; raises `UnknownName` outside the call that was given it."""
    try:
        return _KNOWN.get()[name]
    except KeyError:
        raise UnknownName(
            f"{name!r} is a Python object of the program that began the run, which is resumed by "
            "mnas_search.search with the same objects and the run's folder as output"
        ) from None


def digest(name: str) -> str:
    """Compute a SHA-256 of the object: its own `sha256` where it has one, else of its code (that
    of its class for other values, with the bases that are the user's) and of the plain values that
    it captures or holds."""
    value = find(name)
    own = getattr(value, "sha256", None)
    if isinstance(own, str):
        return own
    return hashlib.sha256(repr(_parts(value)).encode()).hexdigest()


def _parts(value: Any) -> list[Any]:
    """Return what decides how an object behaves, as far as two programs can compare it."""
    if isinstance(value, partial):
        given = (*value.args, *sorted(value.keywords.items()))
        return [*_parts(value.func), *filter(_is_plain, given)]
    code = getattr(value, "__code__", None)
    if isinstance(code, CodeType):
        captured = (
            *(value.__closure__ or ()),
            *(value.__defaults__ or ()),
            *sorted((value.__kwdefaults__ or {}).items()),
        )
        return [_code(code), *filter(_is_plain, map(_content, captured))]
    if not isinstance(value, type):
        held = getattr(value, "__dict__", {})
        names = [one.name for one in fields(value)] if is_dataclass(value) else held
        state = [(name, getattr(value, name)) for name in sorted(names)]
        return [*_parts(type(value)), *(pair for pair in state if _is_plain(pair[1]))]
    return [part for one in value.__mro__ if one is value or _is_own(one) for part in _class(one)]


def _class(value: type) -> list[Any]:
    """Return the parts of a class without those of its bases."""
    members = [(name, _function(one)) for name, one in sorted(vars(value).items())]
    functions = [(name, _parts(one)) for name, one in members if hasattr(one, "__code__")]
    return [*functions, *(pair for pair in members if pair[0][0] != "_" and _is_plain(pair[1]))]


def _is_own(base: type) -> bool:
    """Tell whether a base class is neither Python's nor this package's."""
    package = base.__module__.partition(".")[0]
    return package not in sys.stdlib_module_names and package != __name__.partition(".")[0]


def _code(code: CodeType) -> tuple[Any, ...]:
    """Return a function's code without the places of its lines."""
    return code.co_code, code.co_names, [_constant(one) for one in code.co_consts]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value


def _content(captured: Any) -> Any:
    """Return what a closure's cell holds; None for a name that is not bound yet."""
    if not isinstance(captured, CellType):
        return captured
    with suppress(ValueError):
        return captured.cell_contents
    return None


def _function(member: Any) -> Any:
    """Return the function of a property or a method."""
    return getattr(member, "fget", None) or getattr(member, "__func__", None) or member


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
