"""The members of a family with their cost, as `mnas-search scale` shows and saves them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mnas_search.architecture import published
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import PUBLISHED, CompoundRule
from mnas_search.architecture.scaling.limits import LargestMember, Limit
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.files import atomic_directory, write_atomically
from mnas_search.common.render.tables import print_rows
from mnas_search.common.units import format_bytes, format_size

Row = dict[str, Any]


def member_names(asked: str, base: Architecture) -> tuple[str, ...]:
    """Return `efficientnet_b0` to `b7` for EfficientNet-B0; names after the base for others."""
    stem = "efficientnet" if asked == published.names()[0] else base.name or "scaled"
    separator = "_" if stem == "efficientnet" else "-"
    return tuple(f"{stem}{separator}b{i}" for i in range(len(PUBLISHED)))


def published_rows(base: Architecture, members: Sequence[Architecture]) -> list[Row]:
    """Return the members under the published coefficients, which are alpha^phi for no phi.
    `implied_phi` is the phi that depth, width and resolution each imply: log d / log alpha."""
    constants = asdict(CompoundRule()).values()
    rows = []
    for number, (member, c) in enumerate(zip(members, PUBLISHED, strict=True)):
        ratios = (c.depth, c.width, c.resolution / PUBLISHED[0].resolution)
        implied = [
            round(math.log(ratio) / math.log(constant), 2)
            for ratio, constant in zip(ratios, constants, strict=True)
        ]
        rows.append(_row(base, member, None, number) | {"implied_phi": implied})
    return rows


def compound_rows(base: Architecture, members: Mapping[float, Architecture]) -> list[Row]:
    """Return the members under equation 3, by phi."""
    return [_row(base, member, phi, phi) for phi, member in members.items()]


def fitted_row(base: Architecture, fitted: LargestMember, limits: Sequence[Limit]) -> Row:
    """Return the largest member within limits, the limits that bind, and its share of each."""
    taken = {one.name: {"of": one.maximum, "is": one.measure(fitted.member)} for one in limits}
    row = _row(base, fitted.member, fitted.phi, fitted.phi)
    return row | {"binding": list(fitted.binding), "limits": taken}


def _row(base: Architecture, member: Architecture, phi: float | None, nominal: float) -> Row:
    counted = cost(member)
    return {
        "name": member.label,
        "phi": phi,
        **asdict(counted),
        "resolution": member.resolution,
        "dropout": round(member.dropout_rate, 4),
        "block_string": member.block_string,
        "macs_ratio": counted.macs / cost(base).macs,
        "two_to_phi": 2.0**nominal,
    }


def print_family(rows: Sequence[Row], title: str | None = None) -> None:
    """Print a table."""
    implied = any("implied_phi" in row for row in rows)
    columns = {
        "name": "{name}",
        "phi by d, w, r" if implied else "phi": "{phis}",
        "resolution": "{resolution}",
        "params": "{params:,}",
        "MACs": "{macs:,}",
        "MACs / base": "{macs_ratio:.3g}",
        "2^i of Bi" if implied else "2^phi": "{two_to_phi:.3g}",
        "memory": "{bytes}",
        "dropout": "{dropout:g}",
    }
    texts = [
        row
        | {
            "phis": ", ".join(f"{phi:g}" for phi in row.get("implied_phi", (row["phi"],))),
            "bytes": format_bytes(row["memory"]),
        }
        for row in rows
    ]
    print_rows(texts, columns, title=title)


def describe_fit(row: Row) -> str:
    """Return the largest phi and the limits that bind, as a sentence."""
    if not row["binding"]:
        return f"phi {row['phi']:g} is the largest possible; no limit binds"
    taken = ", ".join(
        f"{name} {format_size(limit['is'])} of {format_size(limit['of'])}"
        for name, limit in row["limits"].items()
    )
    binding = " and ".join(row["binding"])
    return f"phi {row['phi']:g} is the largest that fits ({taken}); what binds: {binding}"


_LONGEST = 60


def check_new(folder: Path) -> None:
    """Raise `UsageError` for a file, and for a folder that is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "not empty" if folder.is_dir() else "a file"
        raise UsageError(f"{str(folder)!r} is {what}; it must be a new folder")


def save_networks(
    base: Architecture, networks: Sequence[Architecture], folder: Path
) -> tuple[Path, ...]:
    """Write each network as a JSON file named after it, and name it after its file.

    Args:
        base: the networks' names begin with its name, or with "network" where it has none.

    Returns:
        The files, in the networks' order.
    """
    check_new(folder)
    names: list[str] = []
    for network in networks:
        label = network.label
        if base.name is None:
            label = label.replace(base.label, "network", 1)
        name = re.sub(r"[^\w.-]+", "-", label).strip("-.")[:_LONGEST] or "network"
        # Rounded phis and budgets may look the same.
        alike = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", one) is not None for one in names)
        names.append(f"{name}-{alike + 1}" if name in names else name)
    with atomic_directory(folder) as temporary:
        for name, network in zip(names, networks, strict=True):
            named = replace(network, name=name)
            write_atomically(temporary / f"{name}.json", named.to_json() + "\n")
    return tuple(folder / f"{name}.json" for name in names)
