"""The command `explain`, which draws class activation maps."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.logs import notify
from mnas_search.cli.options import FOLDER, format_option, print_rows, weights_of_option
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.common.render.activation_maps import Panel
    from mnas_search.experiments.training.trained import TrainedNetwork
    from mnas_search.networks.explain import ActivationMap

_SUFFIX = "-map.png"


@click.command()
@click.argument("architecture", metavar="ARCH")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--weights",
    metavar="PATH",
    help="Weights: safetensors, a torch file, or the folder of a training.",
    show_default="those of ARCH, if it is the folder of a training",
)
@weights_of_option
@click.option(
    "--beside",
    multiple=True,
    metavar="ARCH[=PATH]",
    help="Another network with the same classes, with its weights, drawn to the right; may be "
    "repeated.",
)
@click.option(
    "--class",
    "wanted",
    metavar="N|NAME",
    help="Class to explain, the same for all networks.",
    show_default="the class that ARCH predicts",
)
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    default=Path("explanations"),
    help="Folder of the pictures, one IMAGE-map.png for each image; images of equal names keep "
    "their folders.",
)
@click.option("--force", is_flag=True, help="Overwrite existing pictures.")
@format_option
def explain(
    architecture: str,
    images: tuple[str, ...],
    weights: str | None,
    weights_of: str | None,
    beside: tuple[str, ...],
    wanted: str | None,
    output: Path,
    force: bool,
    form: str,
) -> None:
    """Draw the image regions that support a prediction.

    The pictures are class activation maps. ARCH is the folder of a training or an export, which
    supplies weights, classes and preprocessing, or any architecture together with --weights. An
    IMAGE is a file, or a folder, which is searched for images at any depth.
    """
    from mnas_search.common.files import write_atomically
    from mnas_search.common.render.activation_maps import SIDE, picture
    from mnas_search.data.decode import decode_one
    from mnas_search.data.folder import image_files
    from mnas_search.experiments.training.trained import load_trained

    if weights_of is not None and weights is None:
        raise UsageError(f"--weights-of {weights_of} requires --weights")
    paths = list(image_files(Path(image) for image in images))
    targets = _targets(paths, output, force=force)
    shown = [decode_one(path, SIDE) for path in paths]  # all of them, before anything is written
    networks = [
        load_trained(architecture, weights, weights_of),
        *(load_trained(*_pair(text)) for text in beside),
    ]
    names = _class_names(networks)
    target = None
    if wanted is not None:
        target = _class(wanted, names, networks[0].architecture.num_classes)
    for note in dict.fromkeys(note for network in networks for note in network.notes):
        notify(f"note: {note}")
    records: list[dict[str, Any]] = []
    for path, pixels, file in zip(paths, shown, targets, strict=True):
        maps = _maps(networks, path, target)
        panels = [_panel(n, m, names) for n, m in zip(networks, maps, strict=True)]
        heading = (path.name, (f"explained: {_called(maps[0].target, names)}",))
        write_atomically(file, picture(pixels, *heading, panels))
        records += [_record(path, n, m, names, file) for n, m in zip(networks, maps, strict=True)]
    for row in records[: len(networks)]:
        if row["map"] == "1x1":
            notify(
                f"note: the map of {row['network']} has a single position, which locates nothing; "
                "train it at a higher --resolution"
            )
    if form == "table":
        records = [{k: v for k, v in row.items() if k != "logit"} for row in records]
    print_rows(records, form)


def _targets(paths: list[Path], output: Path, *, force: bool) -> list[Path]:
    """Return the file of each image's picture; refuses to overwrite images, and pictures."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output must be a folder, got the file {str(output)!r}")
    targets = [output / f"{name}{_SUFFIX}" for name in _distinct_names(paths)]
    for file in targets:
        if file.exists() and not force:
            raise UsageError(f"{str(file)!r} exists; overwriting it requires --force")
    places = {file.resolve() for file in targets}
    for path in paths:
        if path.resolve() in places:
            raise UsageError(f"--output must not overwrite the image {str(path)!r}")
    return targets


def _distinct_names(paths: list[Path]) -> list[Path]:
    """Return a name for each image: without its suffix; if some are equal, with its folders below
    the folder that contains all images; if some are still equal, with its suffix."""
    whole = [Path(os.path.abspath(path)) for path in paths]  # without `..`
    above = os.path.commonpath([path.parent for path in whole])
    below = [path.relative_to(above) for path in whole]
    for names in ([Path(path.stem) for path in paths], [path.with_suffix("") for path in below]):
        if len(set(names)) == len(names):
            return names
    return below


def _pair(text: str) -> tuple[str, str | None]:
    """Return an architecture and its weights, from `ARCH=PATH` or a training's folder."""
    if Path(text).is_dir():
        return text, None
    architecture, _, weights = text.partition("=")
    return architecture, weights or None


def _class_names(networks: "list[TrainedNetwork]") -> tuple[str, ...]:
    """Return the names of the classes, the same for all networks; empty if unknown."""
    labels = " and ".join(network.label for network in networks)
    counts = dict.fromkeys(network.architecture.num_classes for network in networks)
    if len(counts) > 1:
        raise UsageError(
            f"networks must have the same classes, got {labels} with "
            f"{' and '.join(map(str, counts))} classes"
        )
    names = dict.fromkeys(n.class_names for n in networks if n.class_names)
    if len(names) > 1:
        raise UsageError(
            f"networks must have the same classes, got {labels} with different class names"
        )
    return next(iter(names), ())


def _class(text: str, names: tuple[str, ...], count: int) -> int:
    """Return the class with a name or number."""
    if text in names:
        return names.index(text)
    if text.isdecimal() and len(text) <= len(str(count)) and int(text) < count:
        return int(text)
    known = f", or a name such as {names[0]!r}" if names else ""
    raise UsageError(f"--class must be 0 to {count - 1}{known}, got {text!r}")


def _maps(
    networks: "list[TrainedNetwork]", path: Path, target: int | None
) -> "list[ActivationMap]":
    """Return each network's map of one class: `target`, or the one that the first predicts."""
    from mnas_search.data.decode import decode_one
    from mnas_search.experiments.training.trained import prepare
    from mnas_search.networks.explain import activation_map

    maps: list[ActivationMap] = []
    for network in networks:
        p = network.preprocessing
        image = prepare(p, decode_one(path, p.size, p.crop, p.interpolation)[None])
        maps.append(activation_map(network.network, image, target))
        if not bool(maps[-1].logits.isfinite().all()):
            raise UsageError(
                f"the outputs of {network.label!r} for {str(path)!r} are not finite; its weights "
                "must be trained"
            )
        target = maps[0].target
    return maps


def _panel(network: "TrainedNetwork", found: "ActivationMap", names: tuple[str, ...]) -> "Panel":
    from mnas_search.common.render.activation_maps import Panel

    height, width = found.size
    low, high = float(found.values.min()), float(found.values.max())
    share = f"{_called(found.target, names)}: {found.probability:.1%}"
    if found.predicted != found.target:
        likeliest = found.probability_of(found.predicted)
        share += f" (predicts {_called(found.predicted, names)}: {likeliest:.1%})"
    return Panel(
        title=f"{network.label}, {network.architecture.resolution} pixels",
        lines=(share, f"{height}x{width} positions, {low:.3g} to {high:.3g}"),
        values=found.values.numpy(),
    )


def _record(
    path: Path,
    network: "TrainedNetwork",
    found: "ActivationMap",
    names: tuple[str, ...],
    file: Path,
) -> dict[str, Any]:
    return {
        "image": str(path),
        "network": network.label,
        "class": found.target,
        "class_name": names[found.target] if names else None,
        "probability": found.probability,
        "logit": float(found.logits[found.target]),
        "predicted": found.predicted,
        "map": "x".join(str(length) for length in found.size),
        "file": str(file),
    }


def _called(target: int, names: tuple[str, ...]) -> str:
    return names[target] if names else f"class {target}"


COMMANDS = (explain,)
