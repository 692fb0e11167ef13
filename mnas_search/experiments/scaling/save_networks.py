"""Scaled networks as files, for every command that takes an architecture."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.files import atomic_directory, write_atomically

_LONGEST = 60


def check_new(folder: Path) -> None:
    """Raise `UsageError` for a file, and for a folder that is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "not empty" if folder.is_dir() else "a file"
        raise UsageError(f"{str(folder)!r} is {what}; it must be a new folder")


def save_networks(
    base: Architecture, networks: Sequence[Architecture], folder: Path
) -> tuple[Path, ...]:
    """Write each network as a JSON file named after it, and name it after its file.

    Args:
        base: the networks' names begin with its name, or with "network" where it has none.

    Returns:
        The files, in the networks' order.
    """
    check_new(folder)
    names: list[str] = []
    for network in networks:
        label = network.label
        if base.name is None:
            label = label.replace(base.label, "network", 1)
        name = re.sub(r"[^\w.-]+", "-", label).strip("-.")[:_LONGEST] or "network"
        # Rounded phis and budgets may look the same.
        alike = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", one) is not None for one in names)
        names.append(f"{name}-{alike + 1}" if name in names else name)
    with atomic_directory(folder) as temporary:
        for name, network in zip(names, networks, strict=True):
            named = replace(network, name=name)
            write_atomically(temporary / f"{name}.json", named.to_json() + "\n")
    return tuple(folder / f"{name}.json" for name in names)
