"""The command `export`, which writes a network in a format."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.logs import notify
from mnas_search.cli.options import FOLDER, PLUGIN, shown, weights_of_option
from mnas_search.common.errors import UsageError, error_context
from mnas_search.common.render.output import echo

if TYPE_CHECKING:
    from mnas_search.architecture.value import Architecture
    from mnas_search.data import Dataset
    from mnas_search.export.base import Exporter


@click.command()
@click.argument("architecture", metavar="ARCH|RUN")
@click.option(
    "--to", "to", required=True, metavar=PLUGIN, help="Format (`mnas-search list exporters`)."
)
@click.option(
    "--weights",
    type=FOLDER,
    metavar="PATH",
    help="Weights: safetensors, a torch file, or the folder of a training or an export. Weights "
    "of timm and torchvision are converted.",
    show_default="those of the folder of a training, a fit or an export, else random "
    "initialisation",
)
@weights_of_option
@click.option(
    "--quantize",
    type=click.Choice(["int8"]),
    help="Quantise the weights and activations of an onnx export, calibrated on training images; "
    "the test accuracies before and after are printed.",
    show_default="fp32",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Data of --quantize, as for `train`.",
    show_default="those of the training",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=2.0,
    help="Points of test accuracy that --quantize may lose.",
)
@click.option("-o", "--output", type=FOLDER, required=True, help="New folder.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def export(
    architecture: str,
    to: str,
    weights: Path | None,
    weights_of: str | None,
    quantize: str | None,
    data: str | None,
    max_drop: float,
    output: Path,
    force: bool,
) -> None:
    """Export an architecture or trained network to a format.

    With the folder of a run, the network that it recommends is exported, untrained; with that of a
    fit, its trained network. The exported network is
    run once and its outputs are compared with those of the original; if they differ, nothing is
    written.
    """
    from mnas_search.common.files import atomic_directory
    from mnas_search.experiments.resolve import is_path, resolve_architecture, trained_folder
    from mnas_search.export.artefacts import write_export
    from mnas_search.export.provenance import find_origin

    cwd = Path.cwd()  # the exporter may change it
    exporter = _exporter(to)
    network = resolve_architecture(architecture)
    folder = Path(architecture) if is_path(architecture) else None
    if weights is None and folder is not None and exporter.takes_weights:
        weights = trained_folder(folder)
    _check_output(output, force)
    tensors = None
    if weights is not None:
        network, tensors = _with_weights(network, weights, weights_of)
    elif weights_of is not None:
        raise UsageError(f"--weights-of {weights_of} requires --weights")
    origin = find_origin(folder, weights, network.resolution)
    if data is not None and quantize is None:
        raise UsageError(f"--data {data} requires --quantize")
    images = (
        None if quantize is None else _data(to, data, folder, weights, side=network.resolution)
    )
    with error_context(f"exporter {to!r}"), atomic_directory(output) as temporary:
        files = write_export(exporter, network, tensors, origin, temporary)
        if images is not None:
            from mnas_search.export.quantisation import quantise

            notify(quantise(temporary / "model.onnx", network, origin, images, max_drop).text)
        names = [file.relative_to(temporary) for file in files]
    for name in names:
        echo(shown(output / name, cwd))
    for caveat in exporter.caveats():
        notify(f"note: {caveat}")


def _data(to: str, data: str | None, *folders: Path | None, side: int) -> "Dataset":
    """Load the data to quantise with: those given, else those of a training."""
    from mnas_search.common.folders import read_training
    from mnas_search.data import load
    from mnas_search.experiments import trust

    if to != "onnx":
        raise UsageError(f"--quantize requires --to onnx, got {to!r}")
    for folder in filter(None, folders):
        training = read_training(folder)
        if data is None and training is not None:
            data = training.get("data")
            where = f"the training {str(folder)!r}"
            trust.check_code(where, {"data": data}, then="give it to the command as --data")
    if data is None:
        raise UsageError("--quantize requires --data, or the folder of a training")
    return load(data, side=side)


def _exporter(name: str) -> "Exporter":
    from mnas_search.common import plugins
    from mnas_search.export.base import Exporter

    cls = plugins.load("exporters", name)
    if not (isinstance(cls, type) and issubclass(cls, Exporter)):
        raise UsageError(f"--to must name an Exporter class, got {name!r}")
    exporter: Exporter = plugins.make(cls, name)
    return exporter


def _check_output(output: Path, force: bool) -> None:
    from mnas_search.common.files import remove_leftovers

    if output.exists() and not output.is_dir():
        raise UsageError(f"--output must be a folder, got the file {str(output)!r}")
    if output.is_dir():
        remove_leftovers(output)
    if output.is_dir() and any(output.iterdir()) and not force:
        raise UsageError(f"{str(output)!r} is not empty; overwriting its files requires --force")


def _with_weights(
    network: "Architecture", source: Path, weights_of: str | None
) -> "tuple[Architecture, dict[str, Any]]":
    """Return the network adapted to the weights of a file or folder, and the weights."""
    from mnas_search.networks.weights.loading import count_classes, fit
    from mnas_search.networks.weights.settings import find_settings
    from mnas_search.networks.weights.sources import read, weights_file

    given = read(source)
    count = count_classes(given)
    if count is not None and count != network.num_classes:
        notify(
            f"note: exported with the {count} classes of the weights; {network.label!r} has "
            f"{network.num_classes}"
        )
        network = replace(network, num_classes=count)
    found = find_settings(weights_file(source), given, weights_of)
    if found is not None and found.apply_to(network) != network:
        notify(f"note: {found.text}")
        network = found.apply_to(network)
    fitted = fit(given, network)
    if fitted.new:
        raise UsageError(
            f"{str(source)!r} has no classifier for {network.label!r}; it must hold "
            f"{', '.join(fitted.new)}"
        )
    notify(f"weights of {source}: {fitted.text}")
    return network, fitted.weights


COMMANDS = (export,)
