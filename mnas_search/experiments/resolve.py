"""Resolves architectures from text: a name, a quoted block string, a JSON file, or the folder of
a run or a training. A run's folder stands for the network that it recommends.

The words that tables print after a name are read too: `efficientnet_b0 x0.44` is scaled in width,
and `efficientnet_b0 x0.44 @32` is also adapted to images of 32 pixels.
`efficientnet_b0_lite` has ReLU6 and no squeeze-and-excitation.
"""

import logging
import re
from dataclasses import replace
from pathlib import Path

from mnas_search.architecture import published
from mnas_search.architecture.adaptation import LITE, adapt, lite
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.value import MAX_RESOLUTION, Architecture
from mnas_search.common.checks import check_integer, did_you_mean
from mnas_search.common.errors import InvalidArchitecture, RunFolderError, UnknownName
from mnas_search.common.files import read_json, read_text
from mnas_search.common.folders import read_training
from mnas_search.experiments.search import recommendation

_LOG = logging.getLogger(__name__)
_WINNER, _JOURNAL = "best.json", "journal.jsonl"
_ALLOWED = "a block string, a JSON file, or a run's folder"


# What follows an architecture: its width factor, and the resolution that it is adapted to.
_WORDS = re.compile(r"(?P<base>.*?\S)(?: +x(?P<width>\d*\.?\d+))?(?: +@(?P<resolution>\d{1,9}))?")


def resolve_architecture(
    text: str, *, resolution: int | None = None, num_classes: int | None = None
) -> Architecture:
    """Return the architecture that `text` names or holds.

        resolve_architecture("efficientnet_b0 x0.44 @32")

    Args:
        resolution: to adapt it to; None for the one that `text` says, else its own.
        num_classes: None for its own.
    """
    what, width, words = _split(text)
    network = base = _resolve(what)
    resolution = words if resolution is None else resolution
    if resolution is not None:
        check_integer("resolution", resolution, 1, MAX_RESOLUTION)
        network = adapt(network, resolution)
    if width is not None:
        network = scale(network, width=width, name=f"{network.label} x{width:g}")
    if network.name is not None or words is not None:
        network = labelled(network, base)
    return network if num_classes is None else replace(network, num_classes=num_classes)


def labelled(network: Architecture, base: Architecture) -> Architecture:
    """Name a network as `resolve_architecture` reads it: with the resolution that it is adapted
    to, where that is not the base's."""
    if network.resolution == base.resolution:
        return network
    return replace(network, name=f"{network.label} @{network.resolution}")


def is_published(text: str) -> bool:
    """Return whether an architecture is a published one, whose resolution and strides are those
    of its paper: a name, perhaps with a width factor, but without a resolution such as `@32`."""
    base, _, resolution = _split(text)
    return resolution is None and base.removesuffix(LITE) in published.names()


def _split(text: str) -> tuple[str, float | None, int | None]:
    """Return what names an architecture, and the width factor and resolution that follow."""
    found = _WORDS.fullmatch(text)
    if found is None or is_path(text):
        return text, None, None
    width, resolution = found["width"], found["resolution"]
    return (
        found["base"],
        None if width is None else float(width),
        None if resolution is None else int(resolution),
    )


def _resolve(text: str) -> Architecture:
    if not text.strip():
        raise UnknownName(f"architecture must be a name, {_ALLOWED}, got {text!r}")
    if (name := text.removesuffix(LITE)) in published.names():
        network = published.architecture(name)
        return network if name == text else lite(network)
    if is_path(text):
        path = Path(text)
        return _from_run(path) if path.is_dir() else _from_file(path)
    try:
        return Architecture.from_block_string(text)
    except InvalidArchitecture as error:
        hint = did_you_mean(text, published.names())
        if not hint and ("_" in text.split("_", 1)[-1] or " " in text.strip()):
            raise  # it was meant as a block string
        raise UnknownName(
            f"unknown architecture {text!r}{hint}; it must be "
            f"{', '.join(published.names())}, {_ALLOWED}"
        ) from error


def is_path(text: str) -> bool:
    """Return whether something in the file system has this name."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or no path at all
        return False


def exported_architecture(folder: Path) -> Architecture | None:
    """Return the architecture of an export with safetensors weights; None for other folders."""
    from mnas_search.networks.weights import metadata

    for name in ("weights.safetensors", "model.safetensors"):
        text = metadata.read(folder / name).get("architecture")
        if text is not None:
            return Architecture.from_json(text)
    return None


def trained_folder(folder: Path) -> Path | None:
    """Return a training's or an export's folder itself, and the training of a fit's folder; None
    for others, such as a run's, whose networks are untrained."""
    for one in (folder, folder / "training"):
        if read_training(one) is not None or exported_architecture(one) is not None:
            return one
    return None


def _from_file(path: Path) -> Architecture:
    if not path.is_file():
        raise UnknownName(f"{str(path)!r} is no ordinary file; it must be {_ALLOWED}")
    if path.name == _WINNER and (path.parent / _JOURNAL).exists():
        return _winner(path)
    try:
        return Architecture.from_json(read_text(path))
    except UnicodeDecodeError:
        message = f"{str(path)!r} is no text; it must be an architecture's JSON"
    except ValueError as error:
        message = f"{str(path)!r}: {error}"
    raise InvalidArchitecture(message)


def _from_run(folder: Path) -> Architecture:
    training = read_training(folder)
    if training is not None:
        return Architecture.from_dict(training.get("architecture"))
    if (exported := exported_architecture(folder)) is not None:
        return exported
    best = folder / _WINNER
    if not (folder / _JOURNAL).exists():
        raise RunFolderError(f"{str(folder)!r} is no run's folder: it has no journal.jsonl")
    if (folder / recommendation.FILE).exists():
        found = recommendation.read_recommended(folder)
        if found.architecture is not None and not best.exists():
            return found.architecture  # of a fit, whose winner is named in its run
        if found.source == "baseline" and found.architecture is not None:
            _LOG.warning(
                "the run %s recommends the baseline %s; the search's own winner is %s",
                *(folder, found.name, best),
            )
            return found.architecture
    if not best.exists():
        raise RunFolderError(f"the run {str(folder)!r} has no best.json: it has no winner yet")
    return _winner(best)


def _winner(best: Path) -> Architecture:
    """Return the winner that a run's best.json holds."""
    try:
        winner = read_json(best)
        if winner["architecture"] is not None or "fingerprint" not in winner:
            return Architecture.from_dict(winner["architecture"])
    except (ValueError, LookupError, TypeError) as error:
        raise RunFolderError(f"{str(best)!r} holds no architecture: {error}") from error
    raise UnknownName(
        f"the winner of {str(best.parent)!r} is the traced network {winner['fingerprint']!r}; "
        "this command requires a network of stages"
    )
