"""Commands that search nothing: profile, scale, report, list."""

from pathlib import Path
from typing import Any

import click

from mnas_search.cli.options import FOLDER, format_option, print_json
from mnas_search.errors import UsageError


@click.command()
@click.argument("architectures", nargs=-1, required=True, metavar="ARCH...")
@click.option("--layers", is_flag=True, help="every layer too")
@format_option
def profile(architectures: tuple[str, ...], layers: bool, form: str) -> None:
    """Params, MACs and memory: whole networks, stage by stage, and layer by layer.

    ARCH is a name (`mnas-search list architectures`), a quoted block string, a JSON file, or a
    run's folder (its winner).
    """
    from mnas_search.report.profiles import print_profiles, profiles
    from mnas_search.resolve import resolve_architecture

    rows = profiles([resolve_architecture(text) for text in architectures], layers=layers)
    if form == "json":
        print_json(rows)
    else:
        print_profiles(rows)


@click.command()
@click.argument("architecture", metavar="ARCH")
@click.option(
    "--family", type=click.Choice(["efficientnet"]), help="the published coefficients of B0 to B7"
)
@click.option("--phi", help="equation 3 at one phi (1.5) or several (0..7)")
@click.option("--alpha", type=float, help="depth [1.2]")
@click.option("--beta", type=float, help="width [1.1]")
@click.option("--gamma", type=float, help="resolution [1.15]")
@format_option
def scale(architecture: str, family: str | None, phi: str | None, form: str, **rule: Any) -> None:
    """Scale an architecture to its family: --family by the published table, --phi by equation 3.

    Without either, the published table. phi = 0 is the architecture itself.
    """
    from mnas_search.report.families import (
        compound_rows,
        member_names,
        print_family,
        published_rows,
    )
    from mnas_search.resolve import resolve_architecture
    from mnas_search.scaling import CompoundRule

    given = {name: value for name, value in rule.items() if value is not None}
    if phi is None and given:
        raise UsageError(f"--{next(iter(given))} without --phi; allowed: with --phi")
    if phi is not None and family is not None:
        raise UsageError("--phi and --family together; allowed: one of them")
    base = resolve_architecture(architecture)
    if phi is None:
        rows = published_rows(base, member_names(architecture, base))
    else:
        compound = CompoundRule(**given)
        if not 1.8 <= compound.product <= 2.2:
            click.echo(
                f"note: alpha * beta^2 * gamma^2 is {compound.product:.3g}, not about 2 "
                f"(equation 3): FLOPs grow by about {compound.product:.3g}^phi",
                err=True,
            )
        rows = compound_rows(base, _phis(phi), compound)
    if form == "json":
        print_json(rows)
    else:
        print_family(rows)


def _phis(text: str) -> list[float]:
    """Numbers from `1.5` or `0..7`."""
    first, dots, last = text.partition("..")
    try:
        if not dots:
            return [float(first)]
        low, high = int(first), int(last)
    except ValueError:
        raise UsageError(f"phi {text!r}; allowed: a number such as 1.5, or 0..7") from None
    if not low <= high <= low + 100:
        raise UsageError(f"phi {text!r}; allowed: from the smaller to the larger, at most 100 on")
    return [float(value) for value in range(low, high + 1)]


@click.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
def report(folder: Path) -> None:
    """Write a run's report.html again, from its journal; the run may still be going on."""
    from mnas_search.run import report as write_report

    click.echo(str(write_report(folder)))


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
    """What is installed, and from which package; of datasets, also where well-known ones are."""
    from mnas_search import plugins, reference
    from mnas_search.report.tables import print_records
    from mnas_search.training.data.presets import PRESETS

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
        target = {"package": "mnas-search", "target": reference.__name__}
        rows += [{"kind": "architectures", "name": n, **target} for n in reference.names()]
    if form == "json":
        print_json(rows)
    else:
        print_records(rows)


COMMANDS = (profile, scale, report, list_)
