"""The origin of a network and its weights, read from their folders."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from mnas_search.architecture.cost.metrics import METRICS, TARGETS
from mnas_search.common.checks import shown
from mnas_search.common.errors import UsageError, reason_of, shorten
from mnas_search.common.files import read_json
from mnas_search.common.folders import read_training
from mnas_search.data.preprocessing import BICUBIC, Preprocessing
from mnas_search.export.base import Origin
from mnas_search.export.weights import GIVEN, UNTRAINED

DESCRIPTION, LABELS, PREPROCESS = "weights.json", "labels.json", "preprocess.json"
_MAX_NAME = 1_000  # characters of a class name; ImageNet's have up to 121


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the files beside weights say of them; empty or None for what they do not.

    Attributes:
        weights: how they were trained.
        class_names: in the order of the logits.
        resolution: of the network, in pixels.
        preprocessing: of the images that the weights were tested on.
    """

    weights: str | None = None
    class_names: tuple[str, ...] = ()
    resolution: int | None = None
    preprocessing: Preprocessing | None = None


def read_description(folder: Path, resolution: int) -> Description:
    """Read `weights.json` of a folder of weights, else `preprocess.json` and `labels.json`.

    Args:
        resolution: of the network, where the files do not say it.

    Raises:
        UsageError: a file cannot be read, or holds something else than it should.
    """
    file = folder / DESCRIPTION
    try:
        if (told := _read_if_there(file)) is not None:
            return _described(told, resolution)
        file = folder / PREPROCESS
        if (told := _read_if_there(file)) is None:
            return Description()
        found = Preprocessing.from_dict(told)
        file = folder / LABELS
        names = _names(_read_if_there(file))
    except OSError as error:
        raise UsageError(f"{str(file)!r} cannot be read: {reason_of(error)}") from None
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{str(file)!r} is not what mnas-search writes: {error}") from None
    return Description(class_names=names, resolution=found.size, preprocessing=found)


def describe(origin: Origin) -> dict[str, Any]:
    """Return what `weights.json` says of class names and images."""
    told: dict[str, Any] = {}
    if origin.class_names:
        told["class_names"] = list(origin.class_names)
    if (p := origin.preprocessing) is not None:
        told["resolution"] = p.size
        told["normalisation"] = {"mean": list(p.mean), "std": list(p.std)}  # of images in [0, 1]
        told |= {"crop": p.crop, "interpolation": p.interpolation}
    return told


def _described(told: Any, resolution: int) -> Description:
    """Return the contents of `weights.json`; older ones say neither crop nor interpolation."""
    if not isinstance(told, dict):
        raise TypeError(f"it must hold a JSON object, got {shown(told)}")
    given, preprocessing = told.get("normalisation"), None
    if given is not None:
        preprocessing = Preprocessing(
            mean=given["mean"],
            std=given["std"],
            size=told.get("resolution", resolution),
            crop=told.get("crop", 1.0),
            interpolation=told.get("interpolation", BICUBIC),
        )
    weights = told.get("weights")
    return Description(
        weights=None if weights is None else str(weights),
        class_names=_names(told.get("class_names")),
        resolution=told.get("resolution"),
        preprocessing=preprocessing,
    )


def _names(value: Any) -> tuple[str, ...]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"class names must be a list of texts, got {shown(value)}")
    longest = max(value, key=len, default="")
    if len(longest) > _MAX_NAME:
        raise ValueError(
            f"class name {shorten(longest, 40)!r} must have at most {_MAX_NAME:,} characters, got "
            f"{len(longest):,}"
        )
    return tuple(value)


def _read_if_there(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def find_origin(found_in: Path | None, weights: Path | None, resolution: int) -> Origin:
    """Read the origin from the folder of a run or training, and from the files beside weights;
    files that say something else than they should count as missing.

    Args:
        found_in: the source of the architecture; None for a name or a block string.
        weights: the file or folder of the weights; None for untrained ones.
        resolution: of the exported network, which decides the size of its images.
    """
    facts: tuple[tuple[str, str], ...] = ()
    if found_in is not None and found_in.is_dir():
        facts = _of_training(found_in) or _of_run(found_in)
    if weights is None:
        return Origin(weights=UNTRAINED, facts=facts)
    if not facts and weights.is_dir():
        facts = _of_training(weights)
    told = _description(weights, resolution)
    found = told.preprocessing
    return Origin(
        weights=told.weights or f"{GIVEN}, from {weights.name!r}",
        facts=facts,
        class_names=told.class_names,
        preprocessing=None if found is None else replace(found, size=resolution),
    )


def _description(weights: Path, resolution: int) -> Description:
    folders = (weights / "export", weights) if weights.is_dir() else (weights.parent,)
    for folder in folders:
        try:
            if (found := read_description(folder, resolution)) != Description():
                return found
        except UsageError:
            if read_training(weights) is not None:  # our own words, which decide the export
                raise
    return Description()


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
