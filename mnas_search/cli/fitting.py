"""The command `fit`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.options import (
    DURATION,
    FOLDER,
    format_option,
    print_json,
    refuse_run_options,
    run_option,
)
from mnas_search.common.errors import UsageError
from mnas_search.common.render.output import echo

if TYPE_CHECKING:
    from mnas_search.experiments.fit.clock import FitListener
    from mnas_search.experiments.fit.result import FitResult

_SHOWN = ("fit folder", "trainings")  # what a console calls them
_OPTIONS = (
    "target_flops",
    "target_latency",
    "target_memory",
    "device",
    "latency_table",
    "max_params",
    "max_memory",
    "space",
    "controller",
    "init",
    "lite",
    "exponent",
    "workers",
    "gpus_per_trial",
    "ray_address",
    "seed",
    "resolution",
)


@click.command()
@click.argument("data")
@click.option(
    "--time",
    type=DURATION,
    default="30m",
    help="Time for everything, from the plan to the export, e.g. 30m or 2h.",
)
@run_option(*_OPTIONS)
@click.option(
    "--objective",
    metavar="NAME",
    default="hard",
    help="Reward: hard, the best accuracy within the target; soft, which gives up accuracy for "
    "fewer FLOPs, and absolute as for `run`.",
)
@click.option(
    "--network",
    metavar="winner|NAME",
    help="Network to train: winner, that of a search, which then takes place however short the "
    "time; or the name of a baseline within the target, such as efficientnet_b0, which then has "
    "the whole time.",
    show_default="what a comparison recommends",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, and stop; nothing is written.")
@click.option(
    "--output", type=FOLDER, help="New folder, or one to resume.", show_default="fit/<data>-<n>"
)
@format_option
def fit(data: str, dry_run: bool, output: Path | None, form: str, **options: Any) -> None:
    """Turn images into a trained, exported network within a time.

    DATA is a folder of images with one subfolder per class, or another form of --data of `run`.
    The time is divided among a search, where it suffices for one, its comparison with published
    networks, and the training of what that recommends. Without a target, the network has
    EfficientNet-B0's FLOPs at the data's resolution. An interrupted fit is continued by
    `mnas-search resume`.
    """
    from mnas_search.experiments.fit.config import FitConfig
    from mnas_search.experiments.fit.preparing import describe
    from mnas_search.experiments.fit.session import plan_only, start

    config = FitConfig(data=data, **options)
    if dry_run:
        if output is not None:
            raise UsageError(
                f"--output {output} requires a fit, got --dry-run, which writes nothing"
            )
        from mnas_search.cli.console import Console

        prepared = plan_only(config, Console(*_SHOWN))
        if form == "json":
            print_json(prepared.plan.to_dict())
        else:
            echo("\n".join(describe(prepared)))
        return
    _finish(form, lambda listener: start(config, output, listener))


def resume_fit(folder: Path, form: str, changes: Mapping[str, Any], *, trust_code: bool) -> None:
    """Resume a fit (`mnas-search resume`)."""
    from mnas_search.experiments.fit.session import resume

    of_runs = ("trial_timeout", "trials", "time_budget")
    refuse_run_options(changes, of_runs, f"the fit {str(folder)!r}, whose plan is fixed")
    given = {name: changes[name] for name in ("workers", "gpus_per_trial", "ray_address")}
    _finish(form, lambda listener: resume(folder, listener, given, trust_code=trust_code))


def _finish(form: str, work: "Callable[[FitListener], FitResult]") -> None:
    from mnas_search.cli.console import followed
    from mnas_search.experiments.fit.result import lines

    with followed(*_SHOWN, "mnas-search resume", also_failed=True) as console:
        result = work(console)
    if form == "json":
        print_json(result.to_dict())
    else:
        for line in lines(result, console.folder):
            echo(line)


COMMANDS = (fit,)
