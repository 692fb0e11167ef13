"""Folders of experiments: new ones, what they hold, and whether they are continued unchanged."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnas_search.common.errors import RunFolderError
from mnas_search.common.files import read_json, write_atomically

# Budgets may grow and workers may come and go; everything else would make it another run.
_MAY_DIFFER = ("workers", "gpus_per_trial", "ray_address")


_MAY_GROW = ("trials", "time_budget")


def new_folder(parent: Path, stem: str) -> Path:
    """Create `parent/stem-N` with the first N that is free."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / f"{stem}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def check_free(folder: Path, own: str) -> None:
    """Raise `RunFolderError` for a file, and for a folder that holds something already; `own`
    says what such a folder would have had to be, as in "run's folder"."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{str(folder)!r} is a file; allowed: a new folder, or a {own}")
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{str(folder)!r} is no {own}, and not empty")


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run."""
    return (folder / "config.json").is_file()


def read_training(folder: Path) -> dict[str, Any] | None:
    """The configuration of a training (`mnas-search train`); None for a folder of none."""
    try:
        value = read_json(folder / "config.json")["training"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return value if isinstance(value, dict) else None


def read_config(folder: Path) -> dict[str, Any]:
    """The `config` of a run's config.json; raises `RunFolderError` where there is none."""
    return _read(folder, "config")


def read_versions(folder: Path) -> dict[str, Any]:
    """The `versions` of a run's config.json, by package."""
    return _read(folder, "versions")


def _read(folder: Path, part: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise RunFolderError(f"no folder {str(folder)!r}; allowed: a run's folder")
    if not path.is_file():
        raise RunFolderError(f"{str(folder)!r} is no run's folder: it has no config.json")
    try:
        value = read_json(path)[part]
    except (ValueError, KeyError, TypeError):
        value = None
    if not isinstance(value, dict):
        raise RunFolderError(f"{str(path)!r} is no run's configuration")
    return value


def check_same_run(folder: Path, recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise `RunFolderError`, by name, for options that would make it another run."""
    for name, value in asked.items():
        old = recorded.get(name)
        if value == old or name in _MAY_DIFFER:
            continue
        if name not in recorded and not value:
            continue  # an option that the run is older than
        if name in _MAY_GROW and (value is None or (old is not None and value > old)):
            continue
        if name.endswith("_sha256"):
            changed = recorded.get(name.removesuffix("_sha256")) or str(folder / "latency.json")
            raise RunFolderError(
                f"{changed!r} has changed since the run {str(folder)!r} began; allowed: its "
                "content as it was, or a new run"
            )
        shown = "none" if old is None else repr(old)
        more = " or more" if name in _MAY_GROW and old is not None else ""
        raise RunFolderError(
            f"{name} is {value!r}, but the run {str(folder)!r} has another; allowed: {shown}{more}"
        )


def write_config(folder: Path, config: Mapping[str, Any], versions: Mapping[str, str]) -> None:
    """Write config.json."""
    text = json.dumps({"config": dict(config), "versions": dict(versions)}, indent=2)
    write_atomically(folder / "config.json", text + "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV; columns that a row lacks stay empty, None too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
