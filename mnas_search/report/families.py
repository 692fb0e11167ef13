"""`mnas-search scale`: a family's members with their cost."""

from collections.abc import Sequence
from typing import Any

from mnas_search import reference
from mnas_search.architecture import Architecture
from mnas_search.cost import CONVENTION, cost
from mnas_search.report.tables import console, print_table
from mnas_search.scaling import PUBLISHED, CompoundRule, compound, published_family
from mnas_search.units import format_size


def member_names(asked: str, base: Architecture) -> tuple[str, ...]:
    """`efficientnet_b0` to `b7` for EfficientNet's own base; others are named after theirs."""
    stem = "efficientnet" if asked == reference.names()[0] else base.name or "scaled"
    separator = "_" if stem == "efficientnet" else "-"
    return tuple(f"{stem}{separator}b{i}" for i in range(len(PUBLISHED)))


def published_rows(base: Architecture, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The base under each published coefficient, without a phi: they are not alpha^phi."""
    return [_row(member, None) for member in published_family(base, names)]


def compound_rows(
    base: Architecture, phis: Sequence[float], rule: CompoundRule
) -> list[dict[str, Any]]:
    """The base at each phi of equation 3."""
    return [_row(compound(base, phi, rule), phi) for phi in phis]


def _row(member: Architecture, phi: float | None) -> dict[str, Any]:
    counted = cost(member)
    return {
        "name": member.label,
        "phi": phi,
        "params": counted.params,
        "macs": counted.macs,
        "memory": counted.memory,
        "resolution": member.resolution,
        "dropout": round(member.dropout_rate, 4),
        "block_string": member.block_string,
    }


def print_family(rows: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    print_table(
        ("name", "phi", "resolution", "params", "MACs", "memory", "dropout"),
        [
            (
                row["name"],
                "-" if row["phi"] is None else f"{row['phi']:g}",
                str(row["resolution"]),
                f"{row['params']:,}",
                f"{row['macs']:,}",
                f"{format_size(row['memory'])}B",
                f"{row['dropout']:g}",
            )
            for row in rows
        ],
    )
    console().print(f"{CONVENTION}, at the resolution shown")
