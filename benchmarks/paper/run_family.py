"""The family of a user's run, for the figures of `mnas-search bench paper RUN`."""

import csv
from dataclasses import dataclass
from pathlib import Path

from mnas_search.common import folders
from mnas_search.common.errors import RunFolderError
from mnas_search.common.files import read_json
from mnas_search.evaluators.defaults import EVIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A scaled network: its name, params and multiply-adds."""

    name: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFamily:
    """The winner of a run and its family."""

    name: str  # the run's
    members: tuple[Member, ...]  # the smallest first; the first is the winner
    accuracy: float  # the winner's, a fraction
    predicted: bool  # whether it is a prediction of a short training on ImageNet
    note: str  # what the accuracy is, and what is not drawn


def run_family(folder: Path) -> RunFamily:
    """Read a run's folder; raises `RunFolderError` where it has no winner or no family."""
    config = folders.read_config(folder)
    name = folder.resolve().name
    table, best = folder / "family.csv", folder / "best.json"
    if not best.is_file():
        raise RunFolderError(f"the run {str(folder)!r} has no best.json: it has no winner yet")
    if not table.is_file():
        raise RunFolderError(
            f"the run {str(folder)!r} has no family.csv: its winner is no chain of stages"
        )
    try:
        with table.open(encoding="utf-8", newline="") as file:
            members = tuple(
                Member(name=row["name"], params=int(row["params"]), macs=int(row["macs"]))
                for row in csv.DictReader(file)
            )
        winner = read_json(best)
        accuracy = float(winner.get("check", winner)["accuracy"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{str(folder)!r} has a family that cannot be read: {error}"
        ) from None
    if not members:
        raise RunFolderError(f"{str(table)!r} must have a row for each member, got none")
    evaluator = config.get("evaluator")
    predicted = evaluator == EVIDENCE
    if predicted:
        note = (
            f"{name}: the winner's {accuracy:.1%} is predicted for 16 epochs on ImageNet "
            "(Accel-NASBench), where EfficientNet-B0 reads about 65.7% and not 77.1%: it does not "
            "compare with the published accuracies; the larger members have none and are ticks "
            "on the axis"
        )
    else:
        data = config.get("data")
        measure = f"by {evaluator}" + (f" on {data}" if data else "")
        note = (
            f"{name}: the winner's accuracy, {accuracy:.1%} {measure}, is not ImageNet's and is "
            "not drawn; the members are ticks on the axis"
        )
    return RunFamily(name=name, members=members, accuracy=accuracy, predicted=predicted, note=note)
