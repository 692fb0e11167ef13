"""ImageNet accuracy against params and against FLOPs, with the points that the EfficientNet paper
prints (Tables 2, 3, 7 and its introduction), and the family of a user's run."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnas_search.benchmarks.paper.printed import BEFORE, TABLE_2, TABLE_3, TABLE_7, Printed, Scaled
from mnas_search.common import folders
from mnas_search.common.errors import RunFolderError
from mnas_search.common.files import read_json
from mnas_search.common.render.chart import Chart, Colour, Point, Series, svg
from mnas_search.common.units import format_size
from mnas_search.evaluators.defaults import EVIDENCE

# GPipe is a wider and deeper AmoebaNet-B.
_SEARCHED = ("GPipe", "NASNet-A", "AmoebaNet-A", "AmoebaNet-C", "PNASNet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A scaled network: its name, params and multiply-adds."""

    name: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFamily:
    """The winner of a run and its family."""

    name: str  # the run's
    members: tuple[Member, ...]  # the smallest first; the first is the winner
    accuracy: float  # the winner's, a fraction
    predicted: bool  # whether it is a prediction of a short training on ImageNet
    note: str  # what the accuracy is, and what is not drawn


def run_family(folder: Path) -> RunFamily:
    """Read a run's folder; raises `RunFolderError` where it has no winner or no family."""
    config = folders.read_config(folder)
    name = folder.resolve().name
    table, best = folder / "family.csv", folder / "best.json"
    if not best.is_file():
        raise RunFolderError(f"the run {str(folder)!r} has no best.json: it has no winner yet")
    if not table.is_file():
        raise RunFolderError(
            f"the run {str(folder)!r} has no family.csv: its winner is no chain of stages"
        )
    try:
        with table.open(encoding="utf-8", newline="") as file:
            members = tuple(
                Member(name=row["name"], params=int(row["params"]), macs=int(row["macs"]))
                for row in csv.DictReader(file)
            )
        winner = read_json(best)
        accuracy = float(winner.get("check", winner)["accuracy"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{str(folder)!r} has a family that cannot be read: {error}"
        ) from None
    if not members:
        raise RunFolderError(f"{str(table)!r} must have a row for each member, got none")
    evaluator = config.get("evaluator")
    predicted = evaluator == EVIDENCE
    if predicted:
        note = (
            f"{name}: the winner's {accuracy:.1%} is predicted for 16 epochs on ImageNet "
            "(Accel-NASBench), where EfficientNet-B0 reads about 65.7% and not 77.1%: it does not "
            "compare with the published accuracies; the larger members have none and are ticks "
            "on the axis"
        )
    else:
        data = config.get("data")
        measure = f"by {evaluator}" + (f" on {data}" if data else "")
        note = (
            f"{name}: the winner's accuracy, {accuracy:.1%} {measure}, is not ImageNet's and is "
            "not drawn; the members are ticks on the axis"
        )
    return RunFamily(name=name, members=members, accuracy=accuracy, predicted=predicted, note=note)


def params_figure(own: RunFamily | None) -> str:
    """Draw top-1 against params: Table 2 and the introduction."""
    before = tuple(_point(name.split(",")[0], params, top1) for name, top1, params in BEFORE[:1])
    return _figure("parameters", [*_networks("params", before), *_own(own, "params")])


def flops_figure(own: RunFamily | None) -> str:
    """Draw top-1 against FLOPs: Table 2 and the scaled networks of Tables 3 and 7."""
    rows = (*TABLE_3, *TABLE_7)
    scaled = [row for row in rows if row.change != "baseline"]
    bases = tuple(
        _point(row.base, row.flops.text, row.top1.text)
        for row in TABLE_3
        if row.change == "baseline" and row.base.startswith("MobileNet")
    )
    series = [
        *_networks("flops", bases),
        _scaled("compound scaling of others and of B0 (Tables 3, 7)", scaled, compound=True),
        _scaled("one dimension scaled (Tables 3, 7)", scaled, compound=False),
        *_own(own, "macs"),
    ]
    return _figure("FLOPs (multiply-adds)", series)


def _figure(across: str, series: list[Series]) -> str:
    chart = Chart(
        title="ImageNet top-1 in %, as printed",
        across=across,
        series=series,
        logarithmic=True,
        amount=format_size,
    )
    return svg([chart], label=f"ImageNet top-1 against {across}, as printed")


def _networks(cost: str, more: tuple[Point, ...]) -> Iterator[Series]:
    groups: dict[str, list[Point]] = {"own": [], "designed": [], "searched": []}
    for row in TABLE_2:
        printed = row.params if cost == "params" else row.flops
        if printed is None:
            continue
        group = "searched" if row.name in _SEARCHED else "designed" if row.cited else "own"
        label = row.name.removeprefix("EfficientNet-")
        groups[group].append(_point(label, printed.text, row.top1.text, row.name))
    yield Series(
        name="EfficientNet-B0 to B7", colour="orange", points=groups["own"], line="straight"
    )
    yield Series(name="found by search", colour="green", points=groups["searched"])
    yield Series(name="designed by hand", points=[*groups["designed"], *more])


def _scaled(name: str, rows: list[Scaled], *, compound: bool) -> Series:
    chosen = [row for row in rows if row.change.startswith("compound") == compound]
    points = tuple(
        _point("", row.flops.text, row.top1.text, f"{row.base}, {row.change}") for row in chosen
    )
    colour: Colour = "orange" if compound else "grey"
    return Series(name=name, colour=colour, points=points, mark="hollow")


def _own(own: RunFamily | None, cost: str) -> Iterator[Series]:
    if own is None:
        return
    ticks = tuple(
        Point(label=f"b{i}", x=x, y=None, title=f"{member.name}: {x:,}")
        for i, member in enumerate(own.members)
        for x in (getattr(member, cost),)
    )
    if own.predicted:
        first = own.members[0]
        title = f"{first.name}: {own.accuracy:.1%} predicted for 16 epochs"
        point = Point(label="", x=getattr(first, cost), y=100 * own.accuracy, title=title)
        yield Series(
            name=f"winner of {own.name}, predicted for 16 epochs of ImageNet: another measure",
            colour="violet",
            points=(point,),
            mark="hollow",
        )
    yield Series(name=f"family of {own.name}, without accuracies", colour="violet", points=ticks)


def _point(label: str, cost: str, top1: str, name: str = "") -> Point:
    return Point(
        label=label,
        x=Printed(cost).value,
        y=Printed(top1).value,
        title=f"{name or label}: {top1} at {cost}",
    )
