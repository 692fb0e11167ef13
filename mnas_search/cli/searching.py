"""Commands that search: run, resume, evaluate."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli import training
from mnas_search.cli.options import (
    BYTES,
    FILE,
    FOLDER,
    LATENCY,
    PLUGIN,
    SIZE,
    address_option,
    budget_option,
    data_option,
    device_option,
    format_option,
    gpus_option,
    print_json,
    proxy_option,
    seed_option,
    workers_option,
)
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Listener
    from mnas_search.experiments.search.result import Result


@click.command()
@click.option("--target-flops", type=SIZE, help="Target T for FLOPs, e.g. 400M, 0.4G or 4e8.")
@click.option(
    "--target-latency",
    type=LATENCY,
    help="Target T for the latency of a forward pass, e.g. 20ms; an upper limit if given together "
    "with --target-flops.",
)
@click.option(
    "--target-memory",
    type=BYTES,
    help="Target T for the memory of fp32 inference at batch size 1, e.g. 20M; an upper limit if "
    "given together with another target.",
)
@device_option
@click.option(
    "--latency-table",
    metavar="FILE",
    help="Latency table made by `mnas-search latency build`, which predicts latencies.",
    show_default="a new one, built before the search",
)
@click.option(
    "--max-params",
    type=SIZE,
    help="Upper limit on parameters, e.g. 4M.",
    show_default="no limit",
)
@click.option(
    "--max-memory",
    type=BYTES,
    help="Upper limit on the memory of fp32 inference at batch size 1 (weights and the peak of "
    "activations), e.g. 20M or 1.5GB.",
    show_default="no limit",
)
@click.option("--space", metavar=PLUGIN, default="efficientnet", help="Search space.")
@click.option("--controller", metavar=PLUGIN, default="bayesian", help="Search algorithm.")
@click.option(
    "--evaluator",
    metavar=PLUGIN,
    help="Evaluator that gives the accuracy of a candidate.",
    show_default="accel_nasbench, a surrogate fitted to recorded ImageNet runs, if it covers the "
    "space and there is no --data; else proxy_training",
)
@data_option
@proxy_option
@click.option(
    "--prior",
    metavar=PLUGIN,
    help="Evaluator whose predictions the controller takes as a prior.",
    show_default="no prior",
)
@click.option(
    "--start-from",
    multiple=True,
    metavar="ARCH|RUN",
    help="Architecture to evaluate first, or folder of an earlier run to learn from; may be "
    "repeated.",
)
@click.option(
    "--baseline",
    metavar="random",
    help="Compare with a random search of as many trials, in addition to the published networks.",
)
@click.option(
    "--objective",
    metavar="NAME",
    default="soft",
    help="Reward: soft, ACC*(FLOPS/T)^w; hard, flat below T; absolute, ACC + b*|FLOPS/T - 1|.",
)
@click.option(
    "--exponent",
    type=float,
    help="Exponent w or factor b of the objective, at most 0.",
    show_default="soft -0.07, hard -1, absolute -0.10",
)
@click.option(
    "--trials",
    type=int,
    help="Number of distinct candidates to evaluate.",
    show_default="200 if accuracies are predicted, 48 if candidates are trained",
)
@click.option(
    "--early-stopping",
    metavar="RULE",
    help="Rule that stops unpromising trainings early: asha. Stopped candidates do not count as "
    "--trials.",
    show_default="none are stopped",
)
@budget_option
@workers_option
@gpus_option
@address_option
@seed_option
@click.option("--output", type=FOLDER, help="Folder of the run.", show_default="runs/<target>-<n>")
@click.option(
    "--resolution",
    type=int,
    default=224,
    help="Input resolution at deployment, in pixels, at which FLOPs are counted.",
)
@click.option(
    "--num-classes",
    type=int,
    help="Number of classes at deployment.",
    show_default="the data set's; 1000 for digits",
)
@format_option
def run(output: Path | None, form: str, **options: Any) -> None:
    """Search for an architecture, scale it to a family and export it.

    At least one target is required. An interrupted run is continued by `mnas-search resume`.
    """
    from mnas_search.experiments.search.config import RunConfig
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
@budget_option
@workers_option
@gpus_option
@address_option
@format_option
def resume(folder: Path, form: str, **larger: Any) -> None:
    """Resume an interrupted run or training.

    Works after a crash or power loss too: finished trials and epochs are not repeated.
    """
    from mnas_search.common.folders import read_training
    from mnas_search.experiments.search.run import resume as resume_run

    if read_training(folder) is not None:
        training.resume_training(folder, form, **larger)
        return
    _finish(form, lambda listener: resume_run(folder, listener, **larger))


def _finish(form: str, work: "Callable[[Listener], Result]") -> None:
    from mnas_search.cli.console import followed
    from mnas_search.experiments.search.report.printed import print_result
    from mnas_search.experiments.search.report.summary import summary

    # What Ray has to say of a lost worker it prints; tables and JSON stand alone.
    command = "mnas-search resume"
    with followed("run folder", "candidates", command) as console, redirect_stdout(sys.stderr):
        result = work(console)
    if form == "json":
        print_json(summary(result))
    else:
        print_result(result)


@click.command()
@click.argument("architectures", nargs=-1, metavar="ARCH...")
@click.option("--file", "file", type=FILE, help="Text file with one architecture per line.")
@click.option(
    "--evaluator",
    metavar=PLUGIN,
    default="proxy_training",
    help="Evaluator that gives the accuracy; latency measures latency instead.",
)
@data_option
@proxy_option
@device_option
@seed_option
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
    run's folder (its winner).
    """
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
