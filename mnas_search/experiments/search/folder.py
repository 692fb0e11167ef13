"""The files of a run.

config.json          what was asked for, resolved, with versions
latency.json         under a bound on latency: the table that predicts it
journal.jsonl        every event; all that follows is derived from it and rewritten atomically
answers.jsonl        second opinions, and what a report would otherwise ask the user's code
prior/               checkpoints of the members of a prior that is trained
trials.csv           one row per distinct network, with the rung of those stopped early, and with
                     memory or latency where they are bounded
pareto.csv           Pareto-optimal trials in accuracy and the target metric
best.json            the search's own winner
recommended.json     the network to use: the winner, or a baseline that is as good
family.csv, family/  the recommended network's family
export/              model.py, weights.pt and .safetensors, weights.json
report.html          the run on one page
"""

from typing import Any

from mnas_search.architecture.traced_network import block_string
from mnas_search.architecture.value import Architecture
from mnas_search.common.files import make_folder, write_atomically, write_json
from mnas_search.common.folders import csv_text
from mnas_search.experiments.search.recommendation import FILE, write_recommended
from mnas_search.experiments.search.result import Result
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


def further_figures(trial: Trial) -> dict[str, Any]:
    """Return those of the optional columns that the trial has."""
    figures = trial.costs if trial.rung is None else {"rung": trial.rung, **trial.costs}
    return {name: figures[name] for name in _FURTHER if name in figures}


def write_tables(result: Result) -> None:
    """Write what is derived from the journal: the tables, the winner, the recommendation."""
    write_trials(result)
    if result.best is not None:
        write_best(result)
    else:
        for name in ("best.json", "report.html"):  # of an earlier session
            (result.folder / name).unlink(missing_ok=True)
    if result.recommendation is not None:
        write_recommended(result.recommendation, result.folder)
    else:
        (result.folder / FILE).unlink(missing_ok=True)


def write_trials(result: Result) -> None:
    """Write trials.csv and pareto.csv."""
    for name, trials in (("trials.csv", result.trials), ("pareto.csv", result.pareto)):
        rows = [_row(result, trial) for trial in trials]
        further = [column for column in _FURTHER if any(column in row for row in rows)]
        write_atomically(result.folder / name, csv_text((*TRIAL_COLUMNS, *further), rows))


def _row(result: Result, trial: Trial) -> dict[str, Any]:
    own = {
        "trial": trial.number,
        "block_string": block_string(result.networks[trial.number]),
        **further_figures(trial),
    }
    return own | {name: getattr(trial, name) for name in TRIAL_COLUMNS if name not in own}


def write_best(result: Result) -> None:
    """Write best.json.

    Accuracy, its 95 % `interval` and reward are those of fresh seeds or of the second opinion;
    `searched` has those by which the search found the winner, the luckiest of many. `check` is the
    second opinion, `verdict` the comparison with the baselines."""
    trial, winner, figures = result.best, result.architecture or result.winner, result.figures
    assert trial is not None and winner is not None and figures is not None
    best: dict[str, Any] = {
        "name": result.name,
        "block_string": block_string(winner),
        "architecture": winner.to_dict() if isinstance(winner, Architecture) else None,
        "choices": dict(trial.choices),
        "fingerprint": trial.fingerprint,
        "trial": trial.number,
    }
    best |= {"accuracy": figures.accuracy, "interval": figures.interval}
    best |= {"macs": trial.macs, "params": trial.params, "reward": figures.reward}
    best |= {"searched": {"accuracy": trial.accuracy, "reward": trial.reward}}
    best |= further_figures(trial)
    if (opinion := result.opinion) is not None:
        best["check"] = {
            "accuracy": opinion.checked.accuracy,
            "std": opinion.checked.std,
            "reward": opinion.reward,
        }
    if (verdict := verdict_of(result)) is not None:
        best["verdict"] = verdict
    write_json(result.folder / "best.json", best)


def verdict_of(result: Result) -> dict[str, Any] | None:
    """Return the comparison with baselines and its test as plain JSON values."""
    if result.comparison is None or result.test is None:
        return None
    return {**result.comparison.summary(), "test": result.test.summary()}


def write_family(result: Result) -> None:
    """Write family.csv and a JSON file for each member."""
    columns = ("name", "resolution", "dropout", "params", "macs", "memory", "block_string")
    rows = []
    folder = make_folder(result.folder / "family")
    for member, counted in result.family:
        write_json(folder / f"{member.label}.json", member.to_dict())
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
    write_atomically(result.folder / "family.csv", csv_text(columns, rows))
