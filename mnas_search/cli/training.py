"""The command that trains one network in full."""

from collections.abc import Callable
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
    weights_of_option,
)
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Listener
    from mnas_search.experiments.training.session import TrainingResult


@click.command()
@click.argument("architecture", metavar="ARCH")
@data_option
@click.option("--recipe", help="scratch, finetune or efficientnet [scratch; finetune with --init]")
@click.option("--epochs", type=int, help="over the training split [the recipe's]")
@click.option("--batch-size", type=int, help="of all workers together [the recipe's]")
@click.option("--learning-rate", type=float, help="peak, at this batch size [the recipe's]")
@click.option("--resolution", type=int, help="side of the images, in pixels [the architecture's]")
@click.option(
    "--init",
    metavar="WEIGHTS",
    help="start from these: safetensors, a torch file, or the folder of a training; timm's and "
    "torchvision's fit",
)
@weights_of_option
@click.option(
    "--remap",
    is_flag=True,
    help="with --init: the weights of another network, whose kernels, blocks and channels are "
    "fitted to this one",
)
@click.option(
    "--normalisation",
    default="data",
    show_default=True,
    help="of images: data, by the training split; imagenet, as most published weights want it",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="processes that share every batch, over Ray; 1: this process",
)
@click.option("--gpus-per-worker", type=float, help="0: the CPU [1 where there are any]")
@address_option
@click.option(
    "--output", type=FOLDER, help="a new folder, or one to go on in [trainings/<name>-<n>]"
)
@format_option
def train(architecture: str, output: Path | None, form: str, **options: Any) -> None:
    """Train ARCH by a full recipe, measure it on the test split once, export it.

    ARCH is a name (`mnas-search list architectures`), a quoted block string, a JSON file, or a
    run's folder (its winner). Its classifier gets the data's classes. Interrupted, it goes on with
    `mnas-search resume FOLDER`.
    """
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.experiments.training.session import start
    from mnas_search.experiments.training.settings import TrainingConfig

    config = TrainingConfig(architecture=resolve_architecture(architecture), **options)
    _finish(form, lambda listener: start(config, output, listener))


def resume_training(
    folder: Path,
    form: str,
    *,
    trials: int | None,
    time_budget: float | None,
    workers: int | None,
    gpus_per_trial: float | None,
    ray_address: str | None,
) -> None:
    """Resume a training (`mnas-search resume`)."""
    from mnas_search.experiments.training.session import resume

    of_runs = {"trials": trials, "time-budget": time_budget, "gpus-per-trial": gpus_per_trial}
    for name, value in of_runs.items():
        if value is not None:
            raise UsageError(
                f"--{name} {value:g} for the training {str(folder)!r}; allowed: --workers and "
                "--ray-address (`mnas-search train` with the same --output takes more --epochs)"
            )
    _finish(
        form,
        lambda listener: resume(folder, listener, workers=workers, ray_address=ray_address),
    )


def _finish(form: str, work: "Callable[[Listener], TrainingResult]") -> None:
    """Train with a progress bar, and print the result."""
    from mnas_search.cli.console import followed
    from mnas_search.experiments.training.report import print_result

    with followed("training folder", "epochs", "mnas-search resume") as console:
        result = work(console)
    if form == "json":
        print_json(asdict(result))
    else:
        print_result(result)


COMMANDS = (train,)
