"""Packages that only some formats need."""

import importlib
import importlib.util

from mnas_search.errors import UsageError


def need(extra: str, *packages: str) -> None:
    """Raise `UsageError`, with the command that installs it, where a package is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"this format needs {package!r}, which is not installed: "
                f"pip install 'mnas-search[{extra}]'"
            )


def imports(package: str) -> bool:
    """Whether a package is there and can be imported."""
    try:
        importlib.import_module(package)
    except (ImportError, RuntimeError):  # not there, or built for another torch
        return False
    return True
