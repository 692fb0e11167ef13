"""Train networks scaled by one dimension and by all three: `mnas-search bench scaling`."""

from pathlib import Path
from typing import Any

import click

from mnas_search.cli.bench_options import (
    count_option,
    kept_options,
    load_benchmark,
    names_option,
    note_line,
    print_outcome,
    quick_option,
    split_names,
)
from mnas_search.cli.options import SIZE, format_option, run_option
from mnas_search.common.errors import UsageError


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    """Return the numbers between commas."""
    try:
        return tuple(map(float, split_names(text)))
    except ValueError:
        raise UsageError(f"{flag} must be numbers between commas, got {text!r}") from None


@click.command()
@click.option("--data", metavar="DATA", required=True, help="CIFAR-10, or other photographs.")
@click.option(
    "--part",
    type=click.Choice(["compare", "grid"]),
    default="compare",
    show_default=True,
    help="One dimension against all three; or the search for alpha, beta, gamma at phi = 1.",
)
@names_option(
    "--only",
    "Base networks: these names, or any ARCH, such as a run's folder.",
    default="mobilenet_v2,efficientnet_b0,resnet20,mobilenet_v1; grid: the first two",
)
@click.option(
    "--base-flops",
    "flops",
    type=SIZE,
    default="5M",
    show_default=True,
    help="FLOPs that base networks are narrowed to, at 16 pixels.",
)
@click.option(
    "--factors",
    default="2,4,8",
    show_default=True,
    metavar="A,B",
    help="How many times the base's FLOPs scaled networks have, about.",
)
@count_option("--images", 5_000, "Training images that each training sees, at most.")
@count_option("--epochs", 15, "Epochs of each training.")
@click.option(
    "--rates",
    default="0.05,0.1,0.2",
    show_default=True,
    metavar="A,B",
    help="Learning rates, of which the base takes the best for all.",
)
@count_option("--seeds", 3, "Trainings of each network.")
@run_option("seed", "workers", "gpus_per_trial", "ray_address")
@quick_option("Train a base and twice its FLOPs on 200 images for one epoch, in about a minute.")
@kept_options("scaling-results")
@format_option
def scaling(
    data: str,
    part: str,
    only: str,
    factors: str,
    rates: str,
    quick: bool,
    workers: int | None,
    gpus_per_trial: float | None,
    ray_address: str | None,
    report_only: bool,
    results: Path,
    form: str,
    **given: Any,
) -> None:
    """Scale networks by depth, width and resolution alone, and by all three, and train them.

    Base networks at 16 pixels are scaled to the same recounted FLOPs and trained alike, several
    times each; compound scaling minus each single dimension is tested over seeds and test images.
    Says beforehand how many hours it takes. Kept trainings are not repeated, and an interrupted
    benchmark continues with the same command.
    """
    from mnas_search.cli.console import Console

    settings = load_benchmark("scaling.settings").Settings(
        factors=_numbers("--factors", factors), rates=_numbers("--rates", rates), **given
    )
    running = load_benchmark("scaling.running")
    place = running.Place(
        data=data,
        results=results,
        settings=settings.quick if quick else settings,
        workers=workers,
        gpus_per_trial=gpus_per_trial,
        ray_address=ray_address,
        report_only=report_only,
        listener=Console("folder", "trainings"),
        note=note_line,
    )
    work = {"compare": running.compare, "grid": running.grid}[part]
    print_outcome(work(place, split_names(only)), form, unit="training")
