"""`mnas-search scale`: a family's members with their cost."""

import math
from collections.abc import Sequence
from typing import Any

from mnas_search.architecture import published
from mnas_search.architecture.cost.base import CONVENTION
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import (
    PUBLISHED,
    CompoundRule,
    Rounding,
    compound,
    published_family,
)
from mnas_search.architecture.scaling.limits import LargestMember, Limit
from mnas_search.architecture.value import Architecture
from mnas_search.common.render.tables import console, print_rows
from mnas_search.common.units import format_bytes, format_size

Row = dict[str, Any]


def member_names(asked: str, base: Architecture) -> tuple[str, ...]:
    """`efficientnet_b0` to `b7` for EfficientNet's own base; others are named after theirs."""
    stem = "efficientnet" if asked == published.names()[0] else base.name or "scaled"
    separator = "_" if stem == "efficientnet" else "-"
    return tuple(f"{stem}{separator}b{i}" for i in range(len(PUBLISHED)))


def published_rows(base: Architecture, names: tuple[str, ...]) -> list[Row]:
    """The base under each published coefficient, without a phi: they are not alpha^phi.

    `implied_phi` is what phi would be by depth, width and resolution alone: log d / log alpha.
    """
    rule = CompoundRule()
    rows = []
    for number, member in enumerate(published_family(base, names)):
        c = PUBLISHED[number]
        ratios = (c.depth, c.width, c.resolution / PUBLISHED[0].resolution)
        implied = [
            round(math.log(ratio) / math.log(constant), 2)
            for ratio, constant in zip(ratios, (rule.alpha, rule.beta, rule.gamma), strict=True)
        ]
        rows.append(_row(base, member, None, number) | {"implied_phi": implied})
    return rows


def compound_rows(
    base: Architecture, phis: Sequence[float], rule: CompoundRule, rounding: Rounding
) -> list[Row]:
    """The base at each phi of equation 3."""
    return [_row(base, compound(base, phi, rule, rounding), phi, phi) for phi in phis]


def fitted_row(base: Architecture, fitted: LargestMember, limits: Sequence[Limit]) -> Row:
    """The largest member within limits, what binds, and how much of each limit it takes."""
    taken = {one.name: {"of": one.maximum, "is": one.measure(fitted.member)} for one in limits}
    row = _row(base, fitted.member, fitted.phi, fitted.phi)
    return row | {"binding": list(fitted.binding), "limits": taken}


def _row(base: Architecture, member: Architecture, phi: float | None, nominal: float) -> Row:
    counted = cost(member)
    return {
        "name": member.label,
        "phi": phi,
        "params": counted.params,
        "macs": counted.macs,
        "memory": counted.memory,
        "inference_memory": counted.inference_memory,
        "resolution": member.resolution,
        "dropout": round(member.dropout_rate, 4),
        "block_string": member.block_string,
        "macs_ratio": counted.macs / cost(base).macs,
        "two_to_phi": 2.0**nominal,
    }


def print_family(rows: Sequence[Row], title: str | None = None) -> None:
    """Print a table."""
    implied = any("implied_phi" in row for row in rows)
    columns = {"name": "{name}", "phi by d, w, r" if implied else "phi": "{phis}"}
    columns |= {"resolution": "{resolution}", "params": "{params:,}", "MACs": "{macs:,}"}
    columns |= {"MACs / base": "{macs_ratio:.3g}"}
    columns |= {"2^i of Bi" if implied else "2^phi": "{two_to_phi:.3g}"}
    columns |= {"memory": "{bytes}", "dropout": "{dropout:g}"}
    texts = [
        row
        | {
            "phis": ", ".join(f"{phi:g}" for phi in row.get("implied_phi", (row["phi"],))),
            "bytes": format_bytes(row["memory"]),
        }
        for row in rows
    ]
    print_rows(texts, columns, title=title)


def print_convention() -> None:
    """Print how costs are counted."""
    console().print(
        f"{CONVENTION}, at the resolution shown; memory: peak of activations, fp32 inference"
    )


def said_of(fitted: LargestMember, limits: Sequence[Limit]) -> str:
    """Return the largest phi and what binds, as a sentence."""
    if not fitted.binding:
        return f"phi {fitted.phi:g} is the largest possible; no limit binds"
    taken = ", ".join(
        f"{one.name} {format_size(one.measure(fitted.member))} of {format_size(one.maximum)}"
        for one in limits
    )
    binding = " and ".join(fitted.binding)
    return f"phi {fitted.phi:g} is the largest that fits ({taken}); what binds: {binding}"
