"""The files of a run.

config.json          what was asked for, resolved, with versions
latency.json         under a bound on latency: the table that predicts it
journal.jsonl        every event; all that follows is derived from it and rewritten atomically
trials.csv           a row a distinct network; after early stopping, with the rung of the stopped;
                     under a bound on memory or latency, with that
pareto.csv           those that nothing beats in both accuracy and what the target is of
best.json            the winner
family.csv, family/  the winner's family
export/              model.py, weights.pt and .safetensors, weights.json
report.html          the run on one page
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnas_search.architecture import Architecture
from mnas_search.cost import Cost
from mnas_search.errors import RunFolderError
from mnas_search.files import read_json, write_atomically
from mnas_search.finals import Scored
from mnas_search.interfaces import Network
from mnas_search.trials import Trial
from mnas_search.verdict import Verdict

TRIAL_COLUMNS = (
    "trial",
    "status",
    "fingerprint",
    "block_string",
    "accuracy",
    "macs",
    "params",
    "reward",
    "seconds",
    "error",
)
_FURTHER = ("rung", "inference_memory", "latency")  # columns only where they hold something
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


def write_trials(
    folder: Path, trials: Sequence[Trial], networks: Mapping[int, Network], pareto: Sequence[Trial]
) -> None:
    """Write trials.csv and pareto.csv; `networks` by number of the trial."""
    write_atomically(folder / "trials.csv", _trials_csv(trials, networks))
    write_atomically(folder / "pareto.csv", _trials_csv(pareto, networks))


def _trials_csv(trials: Sequence[Trial], networks: Mapping[int, Network]) -> str:
    further = further_columns(trials)
    rows = [
        {
            "trial": t.number,
            "status": t.status,
            "fingerprint": t.fingerprint,
            "block_string": block_string(networks[t.number]),
            "accuracy": t.accuracy,
            "macs": t.macs,
            "params": t.params,
            "reward": t.reward,
            "seconds": t.seconds,
            "error": t.error,
        }
        | {name: getattr(t, name) for name in further}
        for t in trials
    ]
    return csv_text((*TRIAL_COLUMNS, *further), rows)


def further_columns(trials: Sequence[Trial]) -> list[str]:
    """Those of the optional columns that hold something."""
    return [name for name in _FURTHER if any(getattr(t, name) is not None for t in trials)]


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV; columns that a row lacks stay empty, None too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def block_string(network: Network) -> str | None:
    """The block string, or None for a network that is no chain of stages."""
    return network.block_string if isinstance(network, Architecture) else None


def write_best(
    folder: Path,
    name: str,
    trial: Trial,
    network: Network,
    *,
    opinion: Scored | None,
    verdict: Verdict | None,
) -> None:
    """Write best.json; accuracy and reward are the search's, `check` holds a second opinion,
    `verdict` how the winner compares with the baselines."""
    best: dict[str, Any] = {
        "name": name,
        "block_string": block_string(network),
        "architecture": network.to_dict() if isinstance(network, Architecture) else None,
        "choices": dict(trial.choices),
        "fingerprint": trial.fingerprint,
        "trial": trial.number,
        "accuracy": trial.accuracy,
        "macs": trial.macs,
        "params": trial.params,
        "reward": trial.reward,
    }
    best |= {name: getattr(trial, name) for name in further_columns((trial,))}
    if opinion is not None:
        best["check"] = {
            "accuracy": opinion.checked.accuracy,
            "std": opinion.checked.std,
            "reward": opinion.reward,
        }
    if verdict is not None:
        best["verdict"] = verdict.summary()
    write_atomically(folder / "best.json", json.dumps(best, indent=2) + "\n")


def remove_winner(folder: Path) -> None:
    """Take away what names a winner."""
    for name in ("best.json", "report.html"):
        (folder / name).unlink(missing_ok=True)


def write_family(folder: Path, members: Sequence[tuple[Architecture, Cost]]) -> None:
    """Write family.csv and a JSON file a member."""
    columns = ("name", "resolution", "dropout", "params", "macs", "memory", "block_string")
    rows = []
    for member, counted in members:
        write_atomically(folder / "family" / f"{member.label}.json", member.to_json() + "\n")
        rows.append(
            {
                "name": member.label,
                "resolution": member.resolution,
                "dropout": member.dropout_rate,
                "params": counted.params,
                "macs": counted.macs,
                "memory": counted.memory,
                "block_string": member.block_string,
            }
        )
    write_atomically(folder / "family.csv", csv_text(columns, rows))


def write_report(folder: Path, page: str) -> Path:
    """Write report.html."""
    return write_atomically(folder / "report.html", page)
