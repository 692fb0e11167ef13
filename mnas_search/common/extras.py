"""Optional packages."""

import importlib
import importlib.util

from mnas_search.common.errors import UsageError, single_line


def require_packages(extra: str, *packages: str, what: str = "this format") -> None:
    """Raise `UsageError`, with the command that installs it, if a package is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"{what} requires the package {package!r}: pip install 'mnas-search[{extra}]'"
            )


def can_import(package: str) -> bool:
    """Tell whether a package is installed and imports."""
    return _failure(package) is None


def describe_missing(package: str, install: str) -> str:
    """Say why a package does not import: not installed (pip installs `install`), or its error."""
    if importlib.util.find_spec(package) is None:
        return f"{package} cannot be imported here (not installed: pip install {install})"
    why = _failure(package)
    return f"{package} cannot be imported here" + f" ({why})" * (why is not None)


def _failure(package: str) -> str | None:
    try:
        importlib.import_module(package)
    except (ImportError, RuntimeError) as error:  # not installed, or built for another torch
        return single_line(f"{type(error).__name__}: {error}")
    return None
