"""Commands that search nothing: profile, report, list."""

from pathlib import Path

import click

from mnas_search.cli.options import FILE, FOLDER, format_option, print_json
from mnas_search.common.errors import UsageError, WorkFailed


@click.command()
@click.argument("architectures", nargs=-1, required=True, metavar="ARCH...")
@click.option("--layers", is_flag=True, help="List every layer.")
@click.option("--verify", is_flag=True, help="Compare with the counts of fvcore and PyTorch.")
@click.option("--draw", type=FILE, help="Draw the network (one ARCH) as an SVG file.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@format_option
def profile(
    architectures: tuple[str, ...],
    layers: bool,
    verify: bool,
    draw: Path | None,
    force: bool,
    form: str,
) -> None:
    """Count parameters, MACs and memory of networks.

    Counts are given for whole networks, stages and, on request, layers. MACs are multiply-adds.

    ARCH is a name (`mnas-search list architectures`), a quoted block string, a JSON file, or a
    run's folder (its winner).
    """
    from mnas_search.experiments.profile.tables import print_profiles, profiles
    from mnas_search.experiments.resolve import resolve_architecture

    if draw is not None and len(architectures) > 1:
        raise UsageError(f"--draw with {len(architectures)} architectures; allowed: one")
    if draw is not None and draw.exists() and not (force and draw.is_file()):
        raise UsageError(f"{str(draw)!r} exists; allowed: a new file, or --force")
    networks = [resolve_architecture(text) for text in architectures]
    rows = profiles(networks, layers=layers, verify=verify)
    if draw is not None:
        from mnas_search.common.files import write_atomically
        from mnas_search.experiments.profile.drawing import drawing

        draw.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(draw, drawing(networks[0]))
    if form == "json":
        print_json(rows)
    else:
        print_profiles(rows)
    differing = [row["name"] for row in rows if not row.get("verified", {}).get("agree", True)]
    if differing:
        raise WorkFailed(f"other counters disagree on {', '.join(differing)}")


@click.command()
@click.argument("folder", type=FOLDER, metavar="RUN", required=False)
@click.option("--paper", is_flag=True, help="the EfficientNet paper's figures, counted again")
@click.option("-o", "--output", type=FOLDER, help="with --paper: a new folder for the page")
@click.option("--force", is_flag=True, help="with --paper: write over files that exist")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="with --paper: what to print on standard output [table]",
)
def report(
    folder: Path | None, paper: bool, output: Path | None, force: bool, form: str | None
) -> None:
    """Write a run's report.html again, from its journal; the run may still be going on.

    With --paper: every figure that the EfficientNet paper prints beside what this code computes,
    the difference, and its reason; in DIR also as a page with figures, and as JSON. With RUN, its
    family too.
    """
    if paper:
        _report_paper(folder, output, force=force, form=form)
        return
    if folder is None:
        raise UsageError("report of nothing; allowed: a run's folder, or --paper")
    for name, given in (("--output", output), ("--force", force), ("--format", form)):
        if given:
            raise UsageError(f"{name} without --paper; allowed: with --paper")
    from mnas_search.experiments.search.run import report as write_report

    click.echo(str(write_report(folder)))


def _report_paper(
    folder: Path | None, output: Path | None, *, force: bool, form: str | None
) -> None:
    from mnas_search.benchmarks.paper import all_tables as everything
    from mnas_search.benchmarks.paper.report import check_output, print_paper, record, write_paper
    from mnas_search.benchmarks.paper.run_family import run_family

    if force and output is None:
        raise UsageError("--force without --output; allowed: with --output")
    if output is not None:
        check_output(output, force=force)
    own = None if folder is None else run_family(folder)
    tables = everything()
    files = [] if output is None else write_paper(output, tables, own)
    if form == "json":
        print_json(record(tables, own))
        return
    print_paper(tables, own)
    for file in files:
        click.echo(str(file))


_KINDS = {
    "spaces": "search_spaces",
    "controllers": "controllers",
    "evaluators": "evaluators",
    "exporters": "exporters",
    "datasets": "datasets",
    "blocks": "blocks",
}


@click.command(name="list")
@click.argument("kind", required=False, type=click.Choice([*_KINDS, "architectures"]))
@format_option
def list_(kind: str | None, form: str) -> None:
    """List plug-ins, published architectures and data sets."""
    from mnas_search.architecture import published
    from mnas_search.common import plugins
    from mnas_search.common.render.tables import print_records
    from mnas_search.data.presets import PRESETS

    rows = [
        {"kind": name, "name": p.name, "package": p.package, "target": p.target}
        for name, group in _KINDS.items()
        if kind in (None, name)
        for p in plugins.installed(group)
    ]
    if kind == "datasets":
        rows += [
            {
                "kind": "datasets",
                "name": name,
                "package": "not embedded",
                "target": f"--data PATH, with {preset.title} from {preset.source}",
            }
            for name, preset in PRESETS.items()
        ]
    if kind in (None, "architectures"):
        target = {"package": "mnas-search", "target": "mnas_search.reference"}
        rows += [{"kind": "architectures", "name": n, **target} for n in published.names()]
    if form == "json":
        print_json(rows)
    else:
        print_records(rows)


COMMANDS = (profile, report, list_)
