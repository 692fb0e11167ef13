"""The command `train`."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.options import (
    FOLDER,
    address_option,
    data_option,
    format_option,
    print_json,
    refuse_run_options,
    seed_option,
    weights_of_option,
)

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Listener
    from mnas_search.experiments.training.session import TrainingResult


@click.command()
@click.argument("architecture", metavar="ARCH")
@data_option
@click.option(
    "--recipe",
    metavar="NAME",
    help="Training recipe: scratch, finetune or efficientnet.",
    show_default="scratch; finetune with --init",
)
@click.option(
    "--epochs", type=int, help="Passes over the training split.", show_default="the recipe's"
)
@click.option(
    "--batch-size",
    type=int,
    help="Images per batch, over all workers.",
    show_default="the recipe's",
)
@click.option(
    "--learning-rate",
    type=float,
    help="Peak learning rate at this batch size.",
    show_default="the recipe's",
)
@click.option(
    "--resolution",
    type=int,
    help="Input resolution in pixels.",
    show_default="the data set's own, for a name without --init; else the architecture's",
)
@click.option(
    "--init",
    metavar="PATH|package:NAME|hf:ORG/NAME",
    help="Initial weights: a safetensors or torch file, the folder of a training, an installed "
    "package or a model of the Hugging Face Hub. Weights of timm and torchvision are converted.",
    show_default="random initialisation",
)
@click.option(
    "--lite",
    is_flag=True,
    help="Train with ReLU6 and without squeeze-and-excitation, for int8 (`export --quantize`).",
)
@weights_of_option
@click.option(
    "--remap",
    is_flag=True,
    help="Fit the --init weights of a different network to this one: kernels, blocks and "
    "channels.",
)
@click.option(
    "--normalisation",
    metavar="NAME",
    default="data",
    help="Normalisation of images: data, by mean and deviation of the training split; imagenet, "
    "as most published weights expect.",
)
@seed_option
@click.option(
    "--workers",
    type=int,
    default=1,
    help="Processes that share each batch, run by Ray; 1 trains in this process.",
)
@click.option(
    "--gpus-per-worker",
    type=float,
    help="GPUs per worker; 0 trains on the CPU.",
    show_default="1 if there is a GPU",
)
@address_option
@click.option(
    "--output",
    type=FOLDER,
    help="New folder, or one to resume.",
    show_default="trainings/<name>-<n>",
)
@format_option
def train(architecture: str, lite: bool, output: Path | None, form: str, **options: Any) -> None:
    """Train an architecture by a full recipe and export it.

    The test accuracy is measured once, at the end.

    ARCH is a name (`mnas-search list architectures`), a quoted block string, a JSON file, or a
    run's folder (what it recommends). Words that tables print may follow:
    "efficientnet_b0 x0.44 @32". Its classifier is given the classes of the data set. Without
    --init, a name is trained at the data's resolution; below 128 pixels, it loses strides. An
    interrupted training is continued by `mnas-search resume`.
    """
    from mnas_search.architecture.adaptation import lite as as_lite
    from mnas_search.common.folders import holds_experiment
    from mnas_search.data.loading import own_resolution
    from mnas_search.experiments.resolve import is_published, resolve_architecture
    from mnas_search.experiments.training.session import start
    from mnas_search.experiments.training.settings import TrainingConfig

    network = resolve_architecture(architecture)
    random = options["init"] is None  # pretrained weights need all the strides
    fits = random and is_published(architecture)
    begun = output is not None and holds_experiment(output)
    if fits and options["resolution"] is None and not begun:
        options["resolution"] = own_resolution(options["data"])
    adapted = fits and options["resolution"] is not None
    network = as_lite(network) if lite else network
    config = TrainingConfig(architecture=network, adapted=adapted, **options)
    _finish(form, lambda listener: start(config, output, listener))


def resume_training(
    folder: Path, form: str, changes: Mapping[str, Any], *, trust_code: bool
) -> None:
    """Resume a training (`mnas-search resume`)."""
    from mnas_search.experiments.training.session import resume

    of_runs = ("trial_timeout", "trials", "time_budget", "gpus_per_trial")
    more = "(`mnas-search train` with the same --output takes more --epochs)"
    refuse_run_options(changes, of_runs, f"the training {str(folder)!r} {more}")
    given = {name: changes[name] for name in ("workers", "ray_address")}
    _finish(form, lambda listener: resume(folder, listener, **given, trust_code=trust_code))


def _finish(form: str, work: "Callable[[Listener], TrainingResult]") -> None:
    """Train with a progress bar, and print the result."""
    from mnas_search.cli.console import followed
    from mnas_search.experiments.training.report import print_result

    with followed("training folder", "epochs", "mnas-search resume") as console:
        result = work(console)
    if form == "json":
        print_json(asdict(result))
    else:
        print_result(result, console.folder)


COMMANDS = (train,)
