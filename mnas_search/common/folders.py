"""Folders of experiments: new ones, and what their `config.json` says.

`config.json` holds `format`, `command` (which began the experiment), `config` (its options, with
nothing left open) and `versions` (of the packages that decide results). Format 1 had neither
`format` nor `command`; its folders are read as well.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from mnas_search.common.errors import RunFolderError, reason_of
from mnas_search.common.files import read_json, write_json

FORMAT = 2
TRAIN = "train"  # the command


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What `config.json` says of an experiment."""

    command: str  # that began it, such as `run` or `train`
    config: dict[str, Any]  # its options by name, as JSON values
    versions: dict[str, Any]  # by package


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


def check_free(folder: Path, noun: str) -> None:
    """Raise `RunFolderError` for a file, and for a folder that holds something already; `noun` is
    the kind of experiment that could be resumed there."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{str(folder)!r} is a file; it must be a new folder, or a {noun}'s")
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{str(folder)!r} is no {noun}'s folder, and not empty")


def holds_experiment(folder: Path) -> bool:
    """Return whether the folder has a `config.json`."""
    return (folder / "config.json").is_file()


def read_record(folder: Path) -> Record:
    """Read `config.json`; raises `RunFolderError` where it is missing, broken or too new."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise RunFolderError(f"no folder {str(folder)!r}; it must be a run's folder")
    if not path.is_file():
        raise RunFolderError(f"{str(folder)!r} is no run's folder: it has no config.json")
    try:
        record = _record(read_json(path))
    except OSError as error:
        raise RunFolderError(f"cannot read {str(path)!r}: {reason_of(error)}") from None
    except json.JSONDecodeError:
        record = None
    except ValueError as error:
        raise RunFolderError(f"{str(path)!r}: {error}") from None
    if record is None:
        raise RunFolderError(f"{str(path)!r} is no run's configuration")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write `config.json`, atomically."""
    write_json(folder / "config.json", {"format": FORMAT, **asdict(record)})


def read_config(folder: Path) -> dict[str, Any]:
    """Read the options of a run; raises as `read_record` does."""
    return read_record(folder).config


def read_training(folder: Path) -> dict[str, Any] | None:
    """Read the options of a training (`mnas-search train`); None for any other folder.

    Raises:
        DamagedFile: its `config.json` is not that of its checksum.
    """
    try:
        record = read_record(folder)
    except RunFolderError:
        return None
    return record.config if record.command == TRAIN else None


def _record(value: Any) -> Record | None:
    """Return what a `config.json` of any format says; None where it is none."""
    if not isinstance(value, dict):
        return None
    number = value.get("format", 1)
    if number not in (1, FORMAT):
        raise RunFolderError(
            f"config.json must have format 1 or {FORMAT}, got {str(number)[:20]}: the folder is "
            "of another version of mnas-search"
        )
    config, versions = value.get("config"), value.get("versions", {})
    command = value.get("command")
    if number == 1:
        command, config = _upgraded(value)
    if not isinstance(config, dict) or not isinstance(versions, dict):
        return None
    return Record(command=command, config=config, versions=versions) if command else None


def _upgraded(value: dict[str, Any]) -> tuple[Any, Any]:
    """Return command and options of format 1."""
    if "training" in value:
        return TRAIN, value["training"]
    config = value.get("config")
    if not isinstance(config, dict):
        return "run", None
    options = {name: option for name, option in config.items() if name not in _MOVED}
    hashes = config.get("sha256") or {}  # of `fidelity`: by option or reference
    options |= {f"{name}_sha256": digest for name, digest in hashes.items()}
    return config.get("command", "run"), options


_MOVED = ("command", "sha256")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table as CSV; columns that a row lacks stay empty, None too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
