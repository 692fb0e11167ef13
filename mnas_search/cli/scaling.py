"""The command `scale`: families, limits, grid search of the coefficients, comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.logs import notify
from mnas_search.cli.options import (
    BYTES,
    FOLDER,
    PLUGIN,
    SIZE,
    address_option,
    data_option,
    format_option,
    gpus_option,
    print_json,
    proxy_option,
    workers_option,
)
from mnas_search.cli.scaling_options import (
    LIMITS,
    TRAINED,
    budgets_of,
    limits_of,
    measuring_of,
    option_name,
    phis_of,
    rounding_of,
    rule_of,
    way_of,
)
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.architecture.scaling import CompoundRule, Rounding
    from mnas_search.architecture.scaling.limits import Limit
    from mnas_search.architecture.value import Architecture
    from mnas_search.experiments.experiment import ExperimentKind
    from mnas_search.experiments.scaling.families import Row
    from mnas_search.experiments.scaling.measured import MeasuredAccuracies, Measuring

_RESUME = "the same command and --output"


@click.command()
@click.argument("architecture", metavar="ARCH")
@click.option(
    "--family", type=click.Choice(["efficientnet"]), help="Published coefficients of B0 to B7."
)
@click.option(
    "--phi",
    metavar="N|N..M",
    help="Compound coefficient of equation 3: one (1.5) or several (0..7).",
)
@click.option("--alpha", type=float, help="Base of the depth.", show_default="1.2")
@click.option("--beta", type=float, help="Base of the width.", show_default="1.1")
@click.option("--gamma", type=float, help="Base of the resolution.", show_default="1.15")
@click.option(
    "--divisor", type=int, help="Round channels to multiples of this number.", show_default="8"
)
@click.option(
    "--resolution-divisor",
    type=int,
    help="Round resolutions to multiples of this number.",
    show_default="1",
)
@click.option("--max-flops", type=SIZE, help="Upper limit on FLOPs, e.g. 2G.")
@click.option("--max-params", type=SIZE, help="Upper limit on parameters, e.g. 10M.")
@click.option(
    "--max-memory",
    type=BYTES,
    help="Upper limit on memory, e.g. 500M: of fp32 inference (weights, image and activations), "
    "or of training if --batch-size is given.",
)
@click.option("--batch-size", type=int, help="Images per batch of training, for --max-memory.")
@click.option("--grid-search", is_flag=True, help="Search for alpha, beta and gamma at phi = 1.")
@click.option("--step", type=float, help="Step of the grid search.", show_default="0.1")
@click.option(
    "--tolerance",
    type=float,
    help="Largest deviation of alpha * beta^2 * gamma^2 from 2 in the grid search.",
    show_default="0.1",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare scaling one dimension with compound scaling at equal FLOPs.",
)
@click.option(
    "--budgets",
    metavar="SIZE,...",
    help="FLOPs at which --compare compares, e.g. 0.8G,1.6G.",
    show_default="2, 4 and 8 times the base",
)
@click.option(
    "--write",
    type=FOLDER,
    help="New folder for the networks as JSON files, which every command accepts as ARCH.",
)
@click.option(
    "--evaluator",
    metavar=PLUGIN,
    help="Evaluator of --grid-search and --compare.",
    show_default="proxy_training",
)
@data_option
@proxy_option
@click.option("--seeds", type=int, help="Trainings per network.", show_default="3")
@click.option("--seed", type=int, help="Seed of all random numbers.", show_default="0")
@workers_option
@gpus_option
@address_option
@click.option(
    "--output",
    type=FOLDER,
    help="Folder of the trainings: a new one, or one to resume.",
    show_default="grid-search/<name>-<n>, compare/<name>-<n>",
)
@format_option
def scale(
    architecture: str,
    family: str | None,
    phi: str | None,
    grid_search: bool,
    compare: bool,
    form: str,
    **options: Any,
) -> None:
    """Scale an architecture, or search for its coefficients.

    \b
    --family         published coefficients of B0 to B7 (default, with equation 3 for comparison)
    --phi            equation 3: d = alpha^phi, w = beta^phi, r = gamma^phi; phi = 0 is ARCH
    --max-flops ...  largest phi within all limits, and the limit that binds (equation 2)
    --grid-search    trains all triples near alpha * beta^2 * gamma^2 = 2 at phi = 1
    --compare        compares depth, width or resolution alone with all three; trains networks
                     with --data or --evaluator, otherwise counts only
    """
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.experiments.scaling.save_networks import check_new, save_networks

    given = {name: value for name, value in options.items() if value is not None}
    way = way_of(given, family=family, phi=phi, grid_search=grid_search, compare=compare)
    base = resolve_architecture(architecture)
    rule, rounding = rule_of(given), rounding_of(given)
    folder = given.pop("write", None)
    if folder is not None:
        check_new(folder)  # before anything is trained
    networks: list[Architecture] = []
    if way == "--family":
        networks = _family(architecture, base, form, both=family is None)
    elif way == "--phi":
        networks = _phi(base, phi or "", rule, rounding, form)
    elif way == "limits":
        networks = _largest(base, limits_of(given), rule, rounding, form)
    elif way == "--grid-search":
        _grid(base, given, rounding, form)
    else:
        networks = _compare(base, given, rule, rounding, form)
    if folder is not None:
        for file in save_networks(base, networks, folder):
            notify(f"written: {file}")


def _family(asked: str, base: "Architecture", form: str, *, both: bool) -> "list[Architecture]":
    from mnas_search.architecture.scaling import CompoundRule, Rounding, published_family
    from mnas_search.experiments.scaling import families

    names = families.member_names(asked, base)
    rows = families.published_rows(base, names)
    tables = {"published coefficients of B0 to B7 (no alpha^phi for any phi)": rows}
    if both:
        title = "equation 3, alpha 1.2, beta 1.1, gamma 1.15; phi = 0 is the base, in the paper B0"
        phis = [float(phi) for phi in range(len(rows))]
        tables[title] = families.compound_rows(base, phis, CompoundRule(), Rounding())
    _print_members(rows, form, tables)
    return list(published_family(base, names))


def _phi(
    base: "Architecture", text: str, rule: "CompoundRule", rounding: "Rounding", form: str
) -> "list[Architecture]":
    from mnas_search.architecture.scaling import compound
    from mnas_search.experiments.scaling.families import compound_rows

    phis = phis_of(text)
    _print_members(compound_rows(base, phis, rule, rounding), form)
    return [compound(base, phi, rule, rounding) for phi in phis]


def _largest(
    base: "Architecture",
    limits: "list[Limit]",
    rule: "CompoundRule",
    rounding: "Rounding",
    form: str,
) -> "list[Architecture]":
    from mnas_search.architecture.scaling.limits import largest_member
    from mnas_search.experiments.scaling import families

    fitted = largest_member(base, limits, rule, rounding)
    _print_members([families.fitted_row(base, fitted, limits)], form)
    if form != "json":
        click.echo(families.said_of(fitted, limits))
    return [fitted.member]


def _print_members(
    rows: "list[Row]", form: str, tables: "dict[str, list[Row]] | None" = None
) -> None:
    """Print rows as JSON, or tables by title, by default the rows without one."""
    from mnas_search.experiments.scaling.families import print_convention, print_family

    if form == "json":
        print_json(rows)
        return
    for title, table in (tables or {"": rows}).items():
        print_family(table, title or None)
    print_convention()


def _grid(base: "Architecture", given: dict[str, Any], rounding: "Rounding", form: str) -> None:
    from mnas_search.experiments.scaling import report
    from mnas_search.experiments.scaling.grid import GridConfig, candidates, choose
    from mnas_search.experiments.scaling.measured import GRID_SEARCH

    config = GridConfig(**{name: given[name] for name in ("step", "tolerance") if name in given})
    tried, dropped = candidates(base, config, limits_of(given), rounding)
    measuring = measuring_of(given)
    asked = {
        "step": config.step,
        "tolerance": config.tolerance,
        **{name: given.get(name) for name in LIMITS},
        "rounding": [rounding.channels, rounding.resolution],
    }
    networks = [one.network for one in tried]
    output = given.get("output")
    folder, scores = _measured(GRID_SEARCH, base, networks, measuring, asked, output)
    choice = choose(tried, scores)
    words = [*report.grid_words(choice, demonstration=measuring.embedded), *scores.notes]
    if dropped:
        words.append(f"{dropped} triples broke a limit and were not trained")
    report.write_grid(choice, folder, dropped, words)
    if form == "json":
        print_json(report.grid_record(choice, folder, dropped, words))
    else:
        report.print_grid(choice, words)


def _compare(
    base: "Architecture",
    given: dict[str, Any],
    rule: "CompoundRule",
    rounding: "Rounding",
    form: str,
) -> "list[Architecture]":
    from mnas_search.experiments.scaling import report
    from mnas_search.experiments.scaling.comparison import comparison
    from mnas_search.experiments.scaling.measured import COMPARE

    scaled = comparison(base, budgets_of(given.get("budgets")), rule, rounding)
    networks = [base, *(one.network for one in scaled)]
    scores, folder = None, None
    if "data" in given or "evaluator" in given:
        asked = {
            "budgets": sorted({one.budget for one in scaled}),
            "rule": [rule.alpha, rule.beta, rule.gamma],
            "rounding": [rounding.channels, rounding.resolution],
        }
        measuring, output = measuring_of(given), given.get("output")
        folder, scores = _measured(COMPARE, base, networks, measuring, asked, output)
    else:
        for name in given:
            if name in TRAINED:
                raise UsageError(
                    f"{option_name(name)} with --compare requires --data or --evaluator"
                )
    rows = report.comparison_rows(base, scaled, scores)
    if folder is not None:
        report.write_comparison(rows, folder)
    if form == "json":
        print_json(rows)
        return networks
    report.print_comparison(rows)
    for note in () if scores is None else scores.notes:
        click.echo(note)
    return networks


def _measured(
    kind: "ExperimentKind",
    base: "Architecture",
    networks: "list[Architecture]",
    measuring: "Measuring",
    options: dict[str, Any],
    output: Path | None,
) -> "tuple[Path, MeasuredAccuracies]":
    """Measure networks in a study's folder, with a progress bar; return folder and accuracies."""
    from mnas_search.cli.console import followed
    from mnas_search.experiments.scaling.measured import measure, open_study

    evaluator = measuring.made(base)
    study = open_study(kind, base, {**options, **measuring.recorded(evaluator)}, output)
    with followed("folder", "trainings", _RESUME, also_failed=True) as console:
        return study.folder, measure(networks, base, measuring, evaluator, study, console)


COMMANDS = (scale,)
