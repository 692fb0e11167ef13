"""Commands that search: run, resume, evaluate."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli import training
from mnas_search.cli.options import (
    BYTES,
    DURATION,
    FOLDER,
    LATENCY,
    SIZE,
    address_option,
    data_option,
    device_option,
    format_option,
    gpus_option,
    print_json,
)
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.experiments.search.result import Result

_workers = click.option(
    "--workers", type=int, help="evaluations at a time, over Ray; 0: in this process [one a CPU]"
)
_budget = click.option("--time-budget", type=DURATION, help="ask nothing more after, e.g. 10m")


_proxy = click.option(
    "--proxy",
    metavar="NAME=N,...",
    help="change how candidates are trained: epochs, resolution, width, fraction, batch_size, "
    "learning_rate, divisor, as in epochs=10,resolution=16",
)


@click.command()
@click.option("--target-flops", type=SIZE, help="T, e.g. 400M, 0.4G or 4e8")
@click.option(
    "--target-latency",
    type=LATENCY,
    help="T of one forward pass instead, e.g. 20ms; beside --target-flops, a limit",
)
@click.option(
    "--target-memory",
    type=BYTES,
    help="T of fp32 inference at batch 1 instead, e.g. 20M; beside another target, a limit",
)
@device_option
@click.option(
    "--latency-table",
    metavar="FILE",
    help="of `mnas-search latency build`, which predicts latencies [built first]",
)
@click.option("--max-params", type=SIZE, help="the most parameters, e.g. 4M [no limit]")
@click.option(
    "--max-memory",
    type=BYTES,
    help="the most bytes of fp32 inference at batch 1, weights and the peak of activations, e.g. "
    "20M or 1.5GB [no limit]",
)
@click.option("--space", default="efficientnet", show_default=True, help="name or file.py:Name")
@click.option("--controller", default="bayesian", show_default=True, help="name or file.py:Name")
@click.option(
    "--evaluator",
    help="name or file.py:Name [accel_nasbench: recorded ImageNet trainings, where they know the "
    "space and there is no --data; else proxy_training]",
)
@data_option
@_proxy
@click.option("--prior", help="an evaluator whose predictions the controller starts from")
@click.option(
    "--start-from",
    multiple=True,
    metavar="ARCH|RUN",
    help="try this architecture first, or learn from an earlier run; may be repeated",
)
@click.option(
    "--baseline",
    metavar="random",
    help="beside the fixed baselines: a random search with as many trials",
)
@click.option(
    "--objective",
    default="soft",
    show_default=True,
    help="soft: ACC*(FLOPS/T)^w; hard: flat below T; absolute: ACC + b*|FLOPS/T - 1|",
)
@click.option("--exponent", type=float, help="w or b, never positive [-0.07, -1, -0.10]")
@click.option(
    "--trials", type=int, help="distinct candidates [200 where they are predicted, else 48]"
)
@click.option(
    "--early-stopping",
    metavar="RULE",
    help="asha: give up trainings that do not look promising; those do not count as --trials",
)
@_budget
@_workers
@gpus_option
@address_option
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--output", type=FOLDER, help="the run's folder [runs/<target>-<n>]")
@click.option("--resolution", type=int, default=224, show_default=True, help="at deployment")
@click.option("--num-classes", type=int, help="at deployment [the data's; digits: 1000]")
@format_option
def run(output: Path | None, form: str, **options: Any) -> None:
    """The main job: search, scale the winner to a family, export it."""
    from mnas_search.experiments.search.config import RunConfig
    from mnas_search.experiments.search.run import start

    _finish(form, lambda reporter: start(RunConfig(**options), output, reporter))


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--trials", type=int, help="a larger number of candidates")
@_budget
@_workers
@gpus_option
@address_option
@format_option
def resume(folder: Path, form: str, **larger: Any) -> None:
    """Go on where a run or a training stopped, after anything."""
    from mnas_search.common.folders import read_training
    from mnas_search.experiments.search.run import resume as go_on

    if read_training(folder) is not None:
        training.go_on(folder, form, **larger)
        return
    _finish(form, lambda reporter: go_on(folder, reporter, **larger))


def _finish(form: str, work: Any) -> None:
    from mnas_search.experiments.search.report.printed import print_result
    from mnas_search.experiments.search.report.reporter import ConsoleReporter
    from mnas_search.experiments.search.report.summary import summary

    reporter = ConsoleReporter()
    try:
        # What Ray has to say of a lost worker it prints; tables and JSON stand alone.
        with redirect_stdout(sys.stderr):
            result: Result = work(reporter)
    except KeyboardInterrupt:
        if reporter.folder is not None:
            click.echo(f"go on with: mnas-search resume {reporter.folder}", err=True)
        raise
    if form == "json":
        print_json(summary(result))
    else:
        print_result(result)


@click.command()
@click.argument("architectures", nargs=-1, metavar="ARCH...")
@click.option("--file", "file", type=FOLDER, help="one architecture a line")
@click.option(
    "--evaluator", default="proxy_training", show_default=True, help="name or file.py:Name"
)
@data_option
@_proxy
@device_option
@click.option("--seed", type=int, default=0, show_default=True, help="of the training")
@format_option
def evaluate(
    architectures: tuple[str, ...],
    file: Path | None,
    evaluator: str,
    data: str | None,
    proxy: str | None,
    device: str | None,
    seed: int,
    form: str,
) -> None:
    """Accuracy of architectures by one evaluator, in this process; or their latency, by
    --evaluator latency."""
    from mnas_search.common import plugins
    from mnas_search.common.errors import WorkFailed
    from mnas_search.evaluators.function import as_evaluator
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.nas.evaluator import Profiler
    from mnas_search.nas.job import Job, measure
    from mnas_search.nas.trial import Evaluation

    texts = [("", text) for text in architectures] + (_lines(file) if file else [])
    if not texts:
        raise UsageError("no architecture; allowed: ARCH..., or --file with one a line")
    networks = []
    for place, text in texts:
        with _at(place):
            networks.append(resolve_architecture(text))
    rows: list[dict[str, Any]] = []
    target = plugins.load("evaluators", evaluator)
    if isinstance(target, type) and issubclass(target, Profiler):
        for name, value in (("data", data), ("proxy", proxy)):
            if value is not None:
                raise UsageError(f"{name} {value!r} with {evaluator!r}; allowed: no {name}")
        meter: Profiler = plugins.make(target, evaluator, device=device)
        nothing = {"accuracy": None, "std": None}
        for network, figures in zip(networks, meter.measure(networks), strict=True):
            rows.append({"name": network.label, **nothing, **figures})
        _print_rows(rows, form)
        return
    if device is not None:
        raise UsageError(f"device {device!r} with {evaluator!r}; allowed: with latency")
    chosen = as_evaluator(target, data=data, proxy=proxy)
    for number, network in enumerate(networks):
        with _at(texts[number][0]):
            outcome, seconds = measure(chosen, Job(number=number, network=network, seed=seed))
        if not isinstance(outcome, Evaluation):
            raise WorkFailed(f"{network.label}: {outcome.reason}")
        measured = {"accuracy": outcome.accuracy, "std": outcome.std}
        rows.append({"name": network.label, **measured, "seconds": round(seconds, 3)})
    _print_rows(rows, form)


def _print_rows(rows: list[dict[str, Any]], form: str) -> None:
    from mnas_search.common.render.tables import print_records

    if form == "json":
        print_json(rows)
    else:
        print_records(rows)


def _lines(file: Path) -> list[tuple[str, str]]:
    """Where, and what: one architecture a line; empty lines and those after # are passed over."""
    from mnas_search.common.files import read_text

    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {str(file)!r}: {error}") from None
    lines = [
        (f"{str(file)!r} line {number}: ", line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise UsageError(f"{str(file)!r} is empty; allowed: one architecture a line")
    return lines


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say where wrong usage stands."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}{error}") from None


COMMANDS = (run, resume, evaluate)
