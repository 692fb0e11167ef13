"""Warm start: architectures to try first, and trials of earlier runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnas_search.architecture import published
from mnas_search.architecture.adaptation import adapt
from mnas_search.common.errors import (
    InvalidArchitecture,
    MnasSearchError,
    RunFolderError,
    UsageError,
)
from mnas_search.common.folders import holds_experiment, read_config
from mnas_search.experiments.deployment import ADAPTED
from mnas_search.experiments.resolve import is_path, resolve_architecture
from mnas_search.nas.event_kinds import SEARCH_EVENTS
from mnas_search.nas.events import check_fingerprint
from mnas_search.nas.journal import read_events
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.adapted import AdaptedStages
from mnas_search.nas.space.choices import Choices, encode
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.space.encoding import encode_architecture
from mnas_search.nas.trial import Trial

# What accuracies depend on, and so what an earlier run must share.
_NAMES = ("space", "evaluator", "data", "proxy", "space_sha256", "evaluator_sha256", "data_sha256")
_SAME = (*_NAMES, "resolution", "num_classes", ADAPTED)


def warm_start(
    texts: Sequence[str],
    space: SearchSpace,
    objective: Objective,
    cost_model: CostModel,
    config: Mapping[str, Any],
) -> tuple[list[Choices], list[Trial]]:
    """Return choices to try first, and finished trials of earlier runs.

    Each text is a run's folder, whose trials are taken, or an architecture in any form, which is
    tried first. `config` is the new run's, as config.json holds it.
    """
    wanted: list[Choices] = []
    known: dict[str, Trial] = {}
    for text in texts:
        if _is_folder(text):
            for trial in _trials(Path(text), space, objective, cost_model, config):
                known.setdefault(trial.fingerprint, trial)
        else:
            wanted.append(_choices(text, space))
    return wanted, list(known.values())


def absolute(text: object) -> str:
    """Return the absolute path of a folder; any other text as it is."""
    return str(Path(str(text)).resolve()) if _is_folder(str(text)) else str(text)


def _is_folder(text: str) -> bool:
    return text not in published.names() and is_path(text) and Path(text).is_dir()


def _choices(text: str, space: SearchSpace) -> Choices:
    if not isinstance(space, StagewiseSpace):
        raise UsageError(
            f"start from {text!r} requires a space of stages, which tells the choices of an "
            "architecture; any space can start from a run's folder"
        )
    try:
        network = resolve_architecture(text)
        if isinstance(space, AdaptedStages):
            network = adapt(network, space.template.resolution)
        return encode_architecture(space, network, any_activation=True)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"start from {text!r}: {error}") from None


def _trials(
    folder: Path,
    space: SearchSpace,
    objective: Objective,
    cost_model: CostModel,
    config: Mapping[str, Any],
) -> list[Trial]:
    if not holds_experiment(folder):
        raise RunFolderError(f"{str(folder)!r} is no run's folder: it has no config.json")
    earlier = read_config(folder)
    for name in _SAME:
        if earlier.get(name) != config.get(name):
            raise UsageError(
                f"{name} of the run {str(folder)!r} must be {config.get(name)!r} to start from "
                f"it, got {earlier.get(name)!r}"
            )
    trials: list[Mapping[str, Any]] = []
    asked: dict[int, Mapping[str, Any]] = {}
    try:
        for event in read_events(folder / "journal.jsonl", SEARCH_EVENTS):
            if event["event"] == "ask" and event["duplicate_of"] is None:
                asked[event["trial"]] = event
            elif event["event"] == "tell" and event["trial"] in asked:
                trials.append({**asked[event["trial"]], **event})
            elif event["event"] == "warm start":
                trials += event["known"]
        # The accuracy of a trial that was stopped early is not comparable.
        whole = [trial for trial in trials if trial["status"] != "stopped"]
        return [_trial(trial, space, objective, cost_model) for trial in whole]
    except (LookupError, TypeError, MnasSearchError) as error:
        raise RunFolderError(f"the journal of {str(folder)!r} cannot be used: {error}") from error


def _trial(
    event: Mapping[str, Any], space: SearchSpace, objective: Objective, cost_model: CostModel
) -> Trial:
    choices, accuracy = event["choices"], event["accuracy"]
    encode(space.decisions, choices)  # refuses choices that the space does not have
    network = space.decode(choices)
    check_fingerprint(event["fingerprint"], network)
    costs = cost_model.costs(network)  # at this run's resolution
    return Trial(
        number=0,
        choices=choices,
        fingerprint=network.fingerprint,
        status=event["status"],
        accuracy=accuracy,
        costs=costs,
        reward=None if accuracy is None else objective.reward_of(accuracy, costs),
        feasible=objective.is_feasible(costs),
        seconds=event["seconds"],
        error=event["error"],
    )
