"""The files of a run.

config.json          what was asked for, resolved, with versions
latency.json         under a bound on latency: the table that predicts it
journal.jsonl        every event; all that follows is derived from it and rewritten atomically
trials.csv           a row a distinct network; after early stopping, with the rung of the stopped;
                     under a bound on memory or latency, with that
pareto.csv           Pareto-optimal trials in accuracy and the target metric
best.json            the winner
family.csv, family/  the winner's family
export/              model.py, weights.pt and .safetensors, weights.json
report.html          the run on one page
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.traced_network import Network, block_string
from mnas_search.architecture.value import Architecture
from mnas_search.common.files import write_atomically
from mnas_search.common.folders import csv_text
from mnas_search.experiments.search.stages.baseline_comparison import BaselineComparison
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.nas.trial import Trial

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
_FURTHER = ("rung", "inference_memory", "latency")  # columns only where a trial has them


def write_trials(
    folder: Path, trials: Sequence[Trial], networks: Mapping[int, Network], pareto: Sequence[Trial]
) -> None:
    """Write trials.csv and pareto.csv; `networks` by number of the trial."""
    write_atomically(folder / "trials.csv", _trials_csv(trials, networks))
    write_atomically(folder / "pareto.csv", _trials_csv(pareto, networks))


def _trials_csv(trials: Sequence[Trial], networks: Mapping[int, Network]) -> str:
    figures = [further_figures(trial) for trial in trials]
    further = [name for name in _FURTHER if any(name in row for row in figures)]
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
        | figure
        for t, figure in zip(trials, figures, strict=True)
    ]
    return csv_text((*TRIAL_COLUMNS, *further), rows)


def further_figures(trial: Trial) -> dict[str, Any]:
    """Return those of the optional columns that the trial has."""
    figures = trial.costs if trial.rung is None else {"rung": trial.rung, **trial.costs}
    return {name: figures[name] for name in _FURTHER if name in figures}


def write_best(
    folder: Path,
    name: str,
    trial: Trial,
    network: Network,
    *,
    opinion: Finalist | None,
    comparison: BaselineComparison | None,
) -> None:
    """Write best.json: accuracy and reward are the search's, `check` is the second opinion,
    `verdict` the comparison with the baselines."""
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
    best |= further_figures(trial)
    if opinion is not None:
        best["check"] = {
            "accuracy": opinion.checked.accuracy,
            "std": opinion.checked.std,
            "reward": opinion.reward,
        }
    if comparison is not None:
        best["verdict"] = comparison.summary()
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
