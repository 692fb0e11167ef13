"""The commands `profile`, `report` and `list`."""

from pathlib import Path

import click

from mnas_search.cli.options import FILE, FOLDER, format_option, print_json, print_rows, shown
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.render.output import echo


@click.command()
@click.argument("architectures", nargs=-1, required=True, metavar="ARCH...")
@click.option(
    "--resolution",
    type=int,
    help="Input resolution in pixels, to which the networks are adapted: below 128, they lose "
    "strides.",
    show_default="the architecture's",
)
@click.option(
    "--num-classes", type=int, help="Number of classes.", show_default="the architecture's"
)
@click.option("--layers", is_flag=True, help="List every layer.")
@click.option("--verify", is_flag=True, help="Compare with the counts of fvcore and PyTorch.")
@click.option("--draw", type=FILE, help="Draw the network (one ARCH) as an SVG file.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@format_option
def profile(
    architectures: tuple[str, ...],
    resolution: int | None,
    num_classes: int | None,
    layers: bool,
    verify: bool,
    draw: Path | None,
    force: bool,
    form: str,
) -> None:
    """Count parameters, MACs and memory of networks.

    Counts are given for whole networks, stages and, on request, layers. MACs are multiply-adds.

    ARCH is a name (`mnas-search list architectures`), a quoted block string, a JSON file, or a
    run's folder (what it recommends). Words that tables print may follow:
    "efficientnet_b0 x0.44 @32".
    """
    from mnas_search.experiments.profile.tables import print_profiles, profiles
    from mnas_search.experiments.resolve import resolve_architecture

    if draw is not None and len(architectures) > 1:
        raise UsageError(f"--draw requires a single ARCH, got {len(architectures)}")
    if draw is not None and draw.exists() and not (force and draw.is_file()):
        raise UsageError(f"{str(draw)!r} exists; overwriting it requires --force")
    networks = [
        resolve_architecture(text, resolution=resolution, num_classes=num_classes)
        for text in architectures
    ]
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
        raise WorkFailed(f"fvcore or PyTorch count differently: {', '.join(differing)}")


@click.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
def report(folder: Path) -> None:
    """Write the report.html of RUN again, from its journal.

    The run may still be in progress.
    """
    from mnas_search.experiments.search.run import report as write_report

    cwd = Path.cwd()  # the user's code may change it
    echo(shown(write_report(folder), cwd))


_KINDS = {"spaces": "search_spaces"} | {
    name: name for name in ("controllers", "evaluators", "exporters", "datasets", "blocks")
}


@click.command(name="list")
@click.argument("kind", required=False, type=click.Choice([*_KINDS, "architectures"]))
@format_option
def list_(kind: str | None, form: str) -> None:
    """List plug-ins, published architectures and data sets."""
    from mnas_search.architecture import published
    from mnas_search.common import plugins
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
    print_rows(rows, form)


COMMANDS = (profile, report, list_)
