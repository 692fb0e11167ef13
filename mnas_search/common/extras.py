"""Packages that only some formats need."""

import importlib
import importlib.util

from mnas_search.common.errors import UsageError, single_line


def require_packages(extra: str, *packages: str) -> None:
    """Raise `UsageError`, with the command that installs it, where a package is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"this format needs {package!r}, which is not installed: "
                f"pip install 'mnas-search[{extra}]'"
            )


def can_import(package: str) -> bool:
    """Whether a package is there and can be imported."""
    return _failure(package) is None


def describe_missing(package: str, install: str) -> str:
    """Words for a package that `imports` did not find: the argument of pip that installs it, or
    why it does not import although it is there."""
    if importlib.util.find_spec(package) is None:
        return f"{package} cannot be imported here (not installed: pip install {install})"
    why = _failure(package)
    return f"{package} cannot be imported here" + f" ({why})" * (why is not None)


def _failure(package: str) -> str | None:
    try:
        importlib.import_module(package)
    except (ImportError, RuntimeError) as error:  # not there, or built for another torch
        return single_line(f"{type(error).__name__}: {error}")
    return None
