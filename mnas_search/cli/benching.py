"""The project's own benchmarks."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mnas_search.cli.options import FOLDER, format_option, print_json
from mnas_search.common.errors import UsageError, WorkFailed


@click.group()
def bench() -> None:
    """The project's own benchmarks, each with its conditions."""


@bench.command()
@format_option
def counting(form: str) -> None:
    """Architectures counted a second: params and MACs together, one thread."""
    _print(_benchmark("counting").run(), form)


@bench.command()
@format_option
def evidence(form: str) -> None:
    """How well the predictors of `accel_nasbench` predict networks they were not fitted on."""
    _print(_benchmark("evidence").run(), form)


@bench.command()
@click.option(
    "--results",
    type=FOLDER,
    default=Path("discovery-results"),
    help="where runs are kept and the report goes [discovery-results]",
)
@click.option("--quick", is_flag=True, help="3 seeds, 40 evaluations, cheap controllers: a minute")
@click.option("--report-only", is_flag=True, help="compute nothing, report what is there")
@click.option(
    "--processes", type=click.IntRange(min=1), help="runs at a time [the number of CPUs]"
)
@click.option(
    "--controller", "controllers", multiple=True, help="file.py:Name of one more; repeatable"
)
@click.option("--only-controllers", metavar="A,B", default="", help="leave all others out")
@click.option("--only-problems", metavar="X,Y", default="", help="leave all others out")
@format_option
def discovery(
    results: Path,
    quick: bool,
    report_only: bool,
    processes: int | None,
    controllers: tuple[str, ...],
    only_controllers: str,
    only_problems: str,
    form: str,
) -> None:
    """Controllers compared on Accel-NASBench: regret, and evaluations until B0 is passed.

    What RESULTS holds already is not computed again. Runs to 100 evaluations with 20 seeds (5 to
    300) for model-based controllers, to 1,000 with 100 seeds for cheap ones.
    """
    outcome = _benchmark("discovery").run(
        results=results,
        quick=quick,
        report_only=report_only,
        processes=processes or os.cpu_count() or 1,
        controllers=controllers,
        only_controllers=_listed(only_controllers),
        only_problems=_listed(only_problems),
        note=lambda line: click.echo(line, err=True),
    )
    _print_outcome(outcome, form, what="run")


@bench.command()
@click.option(
    "--results",
    type=FOLDER,
    default=Path("ranking-results"),
    help="where readings are kept and the report goes [ranking-results]",
)
@click.option("--quick", is_flag=True, help="4 cheap scores over 8 networks a draw: seconds")
@click.option("--report-only", is_flag=True, help="compute nothing, report what is there")
@click.option("--only", metavar="A,B", default="", help="leave all other trials out")
@click.option(
    "--networks", type=click.IntRange(min=2), help="networks a draw [each trial's own number]"
)
@click.option(
    "--processes", type=click.IntRange(min=1), help="networks at a time [the number of CPUs]"
)
@format_option
def ranking(
    results: Path,
    quick: bool,
    report_only: bool,
    only: str,
    networks: int | None,
    processes: int | None,
    form: str,
) -> None:
    """Scores and short trainings that might rank networks as ImageNet does, against counting.

    Kendall's tau with the accuracies recorded in Accel-NASBench, over two disjoint draws. What
    RESULTS holds already is not computed again.
    """
    outcome = _benchmark("ranking").run(
        results=results,
        quick=quick,
        report_only=report_only,
        only=_listed(only),
        count=networks,
        processes=processes or os.cpu_count() or 1,
        note=lambda line: click.echo(line, err=True),
    )
    _print_outcome(outcome, form, what="reading")


@bench.command()
@click.option("--candidates", type=click.IntRange(min=1), default=24, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--quick", is_flag=True, help="digits for one epoch, few candidates: a minute")
@click.option("--only", type=click.Choice(["small", "large", "workers"]), help="a part of it")
@format_option
def proxy(candidates: int, repeats: int, quick: bool, only: str | None, form: str) -> None:
    """Proxy trainings an hour beside a plain PyTorch loop; overhead and memory of workers.

    The better of the plain loop's settings counts. Ratios are medians over repeats in turn; put
    nothing else on the machine for absolute figures.
    """
    benchmark = _benchmark("proxy")
    tables = {}
    parts = {"small": benchmark.SMALL, "large": benchmark.LARGE}
    workloads = [part for name, part in parts.items() if only in (None, name)]
    if workloads:
        tables["speed"] = benchmark.compare(
            [benchmark.QUICK] if quick else workloads,
            count=2 if quick else candidates,
            repeats=1 if quick else repeats,
            quick=quick,
            note=lambda line: click.echo(line, err=True),
        )
    if only in (None, "workers"):
        tables["workers"] = benchmark.watch(quick=quick)
    if form == "json":
        print_json(tables)
    else:
        for rows in tables.values():
            _print(rows, form)


@bench.command()
@click.option("--quick", is_flag=True, help="two networks at 96 pixels: seconds")
@format_option
def memory(quick: bool, form: str) -> None:
    """The memory model beside what torch's profiler counts: inference, and a training step.

    EfficientNet-B0 to B4, MobileNetV2 and ResNet-50 at their resolutions; takes up to 10 GiB. On a
    GPU, where there is one, beside its allocator too.
    """
    rows = _benchmark("memory").run(quick=quick, note=lambda line: click.echo(line, err=True))
    _print(rows, form)


@bench.command()
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--quick", is_flag=True, help="small stand-ins, 2 runs: seconds")
@format_option
def latency(runs: int, quick: bool, form: str) -> None:
    """Seconds an image at batch 1 on one core: EfficientNet-B1 against ResNet-152, and B7.

    Beside the EfficientNet paper's Table 4. Means over runs in turn after a warm-up; put nothing
    else on the machine for absolute figures.
    """
    benchmark = _benchmark("latency")
    tables = benchmark.run(
        benchmark.QUICK if quick else benchmark.FULL,
        runs=2 if quick else runs,
        note=lambda line: click.echo(line, err=True),
    )
    if form == "json":
        print_json(tables)
    else:
        for rows in tables.values():
            _print(rows, form)


@bench.command()
@click.argument("folder", type=FOLDER, metavar="[RUN]", required=False)
@click.option("-o", "--output", type=FOLDER, help="also write a page, figures and JSON here")
@click.option("--force", is_flag=True, help="with --output: write over files that exist")
@format_option
def paper(folder: Path | None, output: Path | None, force: bool, form: str) -> None:
    """Compare the figures printed in the EfficientNet paper with what this code computes.

    Prints each figure, the computed one, the difference, and its reason. With RUN, the folder of
    a run, its family is added.
    """
    if force and output is None:
        raise UsageError("--force requires --output")
    report = _benchmark("paper.report")
    if output is not None:
        report.check_output(output, force=force)
    found = report.read(folder)
    files = [] if output is None else report.write(output, found)
    if form == "json":
        print_json(report.record(found))
        return
    report.show(found)
    for file in files:
        click.echo(str(file))


@bench.command()
@click.option("--turns", type=click.IntRange(min=1), default=40, show_default=True)
@click.option("--only", metavar="A,B", default="", help="devices [onnxruntime, compiled]")
@click.option("--quick", is_flag=True, help="2 turns at 64 pixels")
@format_option
def exports(turns: int, only: str, quick: bool, form: str) -> None:
    """EfficientNet-B0 as exported, beside timm's and torchvision's exported the same way.

    Batch 1, one thread, in turns. Wants the extra onnx; of timm and torchvision, what imports.
    """
    benchmark = _benchmark("exports")
    rows = benchmark.run(
        _listed(only) or benchmark.DEVICES,
        turns=2 if quick else turns,
        quick=quick,
        note=lambda line: click.echo(line, err=True),
    )
    _print(rows, form)


def _print_outcome(outcome: Any, form: str, *, what: str) -> None:
    """Records, table, files and failures of a benchmark that keeps its results."""
    if form == "json":
        print_json({"records": outcome.records, "failures": list(outcome.failures)})
    else:
        _print(outcome.table, form)
        for file in outcome.files:
            click.echo(str(file))
    if outcome.failures:
        count = len(outcome.failures)
        raise WorkFailed(
            f"{count} {what}{'s' * (count > 1)} failed; the first: {outcome.failures[0]}"
        )


def _print(rows: Sequence[Mapping[str, Any]], form: str) -> None:
    from mnas_search.common.render.tables import print_records

    if form == "json":
        print_json(rows)
    else:
        print_records(rows)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _benchmark(name: str) -> Any:
    """By name, as plug-ins are: the framework imports none of them."""
    return import_module(f"mnas_search.benchmarks.{name}")


COMMANDS = (bench,)
