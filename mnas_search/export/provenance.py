"""The origin of a network and its weights, read from their folders."""

from pathlib import Path
from typing import Any

from mnas_search.architecture.cost.metrics import METRICS, TARGETS
from mnas_search.common.files import read_json
from mnas_search.common.folders import read_training
from mnas_search.export.base import Origin
from mnas_search.export.weights import GIVEN, UNTRAINED

_MAX_VALUE = 1e6  # of a mean or deviation; images are in [0, 1] or [0, 255]


def find_origin(found_in: Path | None, weights: Path | None) -> Origin:
    """Read the origin from the folder of a run or training, and from `weights.json`.

    Args:
        found_in: the source of the architecture; None for a name or a block string.
        weights: the file or folder of the weights; None for untrained ones.
    """
    facts: tuple[tuple[str, str], ...] = ()
    if found_in is not None and found_in.is_dir():
        facts = _of_training(found_in) or _of_run(found_in)
    if weights is None:
        return Origin(weights=UNTRAINED, facts=facts)
    if not facts and weights.is_dir():
        facts = _of_training(weights)
    description = _description(weights)
    normalisation = _object(description.get("normalisation"))
    names = description.get("class_names")
    return Origin(
        weights=str(description.get("weights", f"{GIVEN}, from {weights.name!r}")),
        facts=facts,
        class_names=tuple(map(str, names)) if isinstance(names, list) else (),
        mean=_channels(normalisation.get("mean")),
        std=_channels(normalisation.get("std")),
    )


def _description(weights: Path) -> dict[str, Any]:
    folders = (weights / "export", weights) if weights.is_dir() else (weights.parent,)
    for folder in folders:
        if description := _read(folder / "weights.json"):
            return description
    return {}


def _of_run(folder: Path) -> tuple[tuple[str, str], ...]:
    config = _object(_read(folder / "config.json").get("config"))
    best = _read(folder / "best.json")
    if not config or not best:
        return ()
    recommended = _read(folder / "recommended.json")
    baseline = recommended.get("source") == "baseline"
    accuracy = recommended.get("validation") if baseline else best.get("accuracy")
    facts = [
        ("search space", str(config.get("space"))),
        ("controller", f"{config.get('controller')}, seed {config.get('seed')}"),
        ("networks evaluated", f"at most {config.get('trials')}"),
        (
            "evaluated by",
            f"{config.get('evaluator')} on {config.get('data') or 'recorded trainings'}",
        ),
    ]
    targets = {name: config.get(f"target_{name}") for name in TARGETS}
    amounts = [METRICS[n].text(t) for n, t in targets.items() if isinstance(t, int | float)]
    if amounts:
        facts.insert(0, ("target", " and ".join(amounts)))
    if baseline:
        facts.append(("recommended", f"the baseline {recommended.get('name')}"))
    if isinstance(accuracy, int | float):
        facts.append(
            ("accuracy in the search", f"{accuracy:.4f}, by that evaluator: not of these weights")
        )
    return tuple(facts)


def _of_training(folder: Path) -> tuple[tuple[str, str], ...]:
    config = read_training(folder)
    if not config:
        return ()
    facts = [
        ("trained on", str(config.get("data_name"))),
        ("recipe", f"{config.get('recipe')}, seed {config.get('seed')}"),
    ]
    result = _read(folder / "result.json")
    test = _object(result.get("test"))
    top1, count = test.get("top1"), test.get("n")
    if isinstance(top1, int | float):
        facts.append(("test accuracy", f"{top1:.4f} of {count} images, evaluated once"))
    else:
        facts.append(("test accuracy", "not measured: the training had not ended"))
    return tuple(facts)


def _read(path: Path) -> dict[str, Any]:
    try:
        return _object(read_json(path))
    except (OSError, ValueError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _channels(value: object) -> tuple[float, ...] | None:
    """Return three finite numbers, or None for anything else."""
    if not isinstance(value, list) or len(value) != 3:
        return None
    if not all(isinstance(v, int | float) and -_MAX_VALUE < v < _MAX_VALUE for v in value):
        return None
    return tuple(float(v) for v in value)
