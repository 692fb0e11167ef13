"""Compare rankings of networks: `mnas-search bench fidelity`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mnas_search.cli.bench_options import (
    ONE_OR_MORE,
    kept_options,
    load_benchmark,
    names_option,
    note_line,
    print_outcome,
    processes_option,
    split_names,
)
from mnas_search.cli.options import DURATION, format_option
from mnas_search.common.errors import UsageError
from mnas_search.common.units import parse_duration, parse_size

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Listed(click.ParamType[tuple[Any, ...]]):
    """Values between commas."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values."""
        try:
            return tuple(self._read(part) for part in split_names(str(value)))
        except (UsageError, ValueError) as error:
            self.fail(str(error), param, ctx)


_FIDELITY_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--space", str, "Rank networks of this search space, which the benchmark trains."),
    ("--band", _Listed("low,high", parse_size), "FLOPs of the networks of such a space."),
    ("--networks", click.IntRange(min=4), "Networks that scores and supernets read."),
    ("--trained", click.IntRange(min=4), "Networks that proxies train."),
    ("--scores", _Listed("a,b", str), "Zero-cost scores."),
    ("--trainings", _Listed("seconds", parse_duration), "CPU seconds of affordable trainings."),
    ("--supernets", ONE_OR_MORE, "Supernets of each budget."),
    ("--supernet", str, "Changes to the supernets' recipe, such as width=0.5."),
    ("--budgets", _Listed("seconds", parse_duration), "CPU seconds of a supernet's training."),
    ("--told", _Listed("n", int), "Numbers of recorded trainings on top of a prior."),
    ("--total", DURATION, "CPU seconds of a prior and affordable trainings together."),
    ("--draws", ONE_OR_MORE, "Random choices of the networks that are trained."),
    ("--reference-seconds", DURATION, "CPU seconds of the trainings that a space is judged by."),
    ("--seed", click.IntRange(min=0), "Seed of networks and trainings."),
)


def _fidelity_options(command: _Command) -> _Command:
    for flag, kind, text in reversed(_FIDELITY_OPTIONS):
        command = click.option(flag, type=kind, help=text)(command)
    return command


@click.command()
@processes_option
@kept_options("fidelity-results")
@click.option("--data", metavar="DATA", help="CIFAR-10; not needed for counts alone.")
@click.option(
    "--split",
    type=click.Choice(["choose", "confirm"]),
    default="choose",
    show_default=True,
    help="Part of NAS-Bench-Macro; `confirm` takes its settings from the package.",
)
@click.option(
    "--open-confirm",
    is_flag=True,
    help="Read the accuracies of `confirm`: once, when all its readings are kept.",
)
@names_option("--only", "Make these parts alone: counts, scores, proxies, supernets.")
@click.option("--proxy", "proxies", multiple=True, help="Proxy to compare; repeatable.")
@_fidelity_options
@format_option
def fidelity(
    results: Path,
    report_only: bool,
    processes: int,
    data: str | None,
    split: str,
    open_confirm: bool,
    only: str,
    form: str,
    **given: Any,
) -> None:
    """Compare counts, zero-cost scores, short trainings and supernets as rankings of networks.

    Each is compared alone and as the prior of `bayesian`, by Kendall's tau with the recorded
    accuracies of NAS-Bench-Macro on CIFAR-10, or with trainings of networks of --space. The whole
    table takes several CPU-hours; kept readings are not computed again.
    """
    given = {name: value for name, value in given.items() if value not in (None, ())}
    if split == "confirm" and given:
        option = next(iter(given)).replace("_", "-")
        raise UsageError(f"--split confirm takes its settings from the package, got --{option}")
    if open_confirm and split != "confirm":
        raise UsageError("--open-confirm requires --split confirm")
    if open_confirm and only:
        raise UsageError("--open-confirm makes the whole table, got --only")
    settings = load_benchmark("fidelity.settings").Settings
    outcome = load_benchmark("fidelity.running").run(
        data=data,
        results=results,
        settings=None if split == "confirm" else settings.of(given),
        only=split_names(only),
        report_only=report_only,
        open_confirm=open_confirm,
        processes=processes,
        note=note_line,
    )
    print_outcome(outcome, form, unit="task")
