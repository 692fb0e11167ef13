"""The commands `run`, `resume` and `evaluate`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli import fitting, training
from mnas_search.cli.config_file import config_option
from mnas_search.cli.options import (
    FILE,
    FOLDER,
    PLUGIN,
    format_option,
    print_json,
    print_rows,
    run_option,
)
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Listener
    from mnas_search.experiments.search.result import Result


@click.command()
@run_option()
@config_option
@click.option("--output", type=FOLDER, help="Folder of the run.", show_default="runs/<target>-<n>")
@click.option(
    "--trust-code",
    is_flag=True,
    expose_value=False,
    help="Accepted as by `resume`, without effect: the command names the code that it runs.",
)
@format_option
def run(output: Path | None, form: str, **options: Any) -> None:
    """Search for an architecture, scale it to a family and export it.

    At least one target is required. An interrupted run is continued by `mnas-search resume`.
    """
    from mnas_search.experiments.search.options import RunConfig
    from mnas_search.experiments.search.run import start

    _finish(form, lambda listener: start(RunConfig(**options), output, listener))


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--trials",
    type=int,
    help="New, larger number of distinct candidates.",
    show_default="as before",
)
@run_option("time_budget", "trial_timeout", "workers", "gpus_per_trial", "ray_address")
@click.option(
    "--trust-code",
    is_flag=True,
    help="Run the Python files that the folder names, though you have not run them before.",
)
@format_option
def resume(folder: Path, form: str, trust_code: bool, **changes: Any) -> None:
    """Resume an interrupted run, training or fit.

    Works after a crash or power loss too: finished trials and epochs are not repeated.
    """
    from mnas_search.common.folders import read_record
    from mnas_search.experiments.search.run import resume as resume_run

    others = {"train": training.resume_training, "fit": fitting.resume_fit}
    command = read_record(folder).command
    if command in others:
        others[command](folder, form, changes, trust_code=trust_code)
        return
    _finish(form, lambda listener: resume_run(folder, listener, trust_code=trust_code, **changes))


def _finish(form: str, work: "Callable[[Listener], Result]") -> None:
    from mnas_search.cli.console import followed
    from mnas_search.experiments.search.report.printed import print_result
    from mnas_search.experiments.search.report.summary import summary

    with followed("run folder", "candidates", "mnas-search resume") as console:
        result = work(console)
    if form == "json":
        print_json(summary(result))
    else:
        print_result(result, console.folder)


@click.command()
@click.argument("architectures", nargs=-1, metavar="ARCH...")
@click.option("--file", "file", type=FILE, help="Text file with one architecture per line.")
@click.option(
    "--evaluator",
    metavar=PLUGIN,
    default="proxy_training",
    help="Evaluator that gives the accuracy; latency measures latency instead.",
)
@run_option("data", "proxy", "device", "seed")
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
    """Evaluate the accuracy or latency of architectures.

    ARCH is a name (`mnas-search list architectures`), a quoted block string, a JSON file, or a
    run's folder (what it recommends).
    """
    from mnas_search.common import plugins
    from mnas_search.common.errors import WorkFailed
    from mnas_search.data.loading import is_embedded
    from mnas_search.evaluators.function import as_evaluator
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.nas.evaluator import Profiler
    from mnas_search.nas.job import EvaluationJob, measure
    from mnas_search.nas.trial import Evaluation

    texts = [("", text) for text in architectures] + (_lines(file) if file else [])
    if not texts:
        raise UsageError("ARCH or --file is required")
    networks = []
    for place, text in texts:
        with _at(place):
            networks.append(resolve_architecture(text))
    rows: list[dict[str, Any]] = []
    target = plugins.load("evaluators", evaluator)
    if isinstance(target, type) and issubclass(target, Profiler):
        for name, value in (("data", data), ("proxy", proxy)):
            if value is not None:
                raise UsageError(f"--{name} {value!r} cannot be used with {evaluator!r}")
        meter: Profiler = plugins.make(target, evaluator, device=device)
        nothing = {"accuracy": None, "std": None}
        for network, figures in zip(networks, meter.measure(networks), strict=True):
            rows.append({"name": network.label, **nothing, **figures})
        print_rows(rows, form)
        return
    if device is not None:
        raise UsageError(f"--device {device!r} requires --evaluator latency, got {evaluator!r}")
    deployment = None if is_embedded(data) else max(one.resolution for one in networks)
    chosen = as_evaluator(target, data=data, proxy=proxy, deployment=deployment)
    for number, network in enumerate(networks):
        with _at(texts[number][0]):
            outcome, seconds = measure(
                chosen, EvaluationJob(number=number, network=network, seed=seed)
            )
        if not isinstance(outcome, Evaluation):
            raise WorkFailed(f"{network.label}: {outcome.reason}")
        measured = {"accuracy": outcome.accuracy, "std": outcome.std}
        rows.append({"name": network.label, **measured, "seconds": round(seconds, 3)})
    print_rows(rows, form)


def _lines(file: Path) -> list[tuple[str, str]]:
    """Return place and text of each architecture; empty lines and comments (#) are skipped."""
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
        raise UsageError(f"{str(file)!r} must hold one architecture per line, got none")
    return lines


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name the place in the message of a `UsageError`."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}{error}") from None


COMMANDS = (run, resume, evaluate)
