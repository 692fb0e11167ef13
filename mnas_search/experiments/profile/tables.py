"""`mnas-search profile`: what a network costs, and where."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mnas_search.architecture.blocks import BlockPlan, NetworkPlan, PartPlan, plan
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT, TABLE_CONVENTION, Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.render.tables import console, print_rows
from mnas_search.common.units import format_bytes

_COSTS = {"params": "{params:,}", "MACs": "{macs:,}", "memory": "{bytes}"}
_LAYER_FIELDS = tuple("in_channels out_channels kernel stride groups out_size params macs".split())
_LAYER = "  {path:<28} {operator:<10} {params:>10,} params {macs:>14,} MACs"


def profiles(
    architectures: Sequence[Architecture], *, layers: bool, verify: bool = False
) -> list[dict[str, Any]]:
    """Return a JSON object for each network, with the fields of `Cost`.

    Args:
        layers: whether to add every layer.
        verify: whether to add the counts of fvcore and PyTorch.
    """
    return [_profile(network, layers=layers, verify=verify) for network in architectures]


def _profile(architecture: Architecture, *, layers: bool, verify: bool) -> dict[str, Any]:
    counted = cost(architecture)
    whole = plan(architecture)
    row: dict[str, Any] = {
        "name": architecture.label,
        **asdict(counted),
        "resolution": architecture.resolution,
        "fingerprint": architecture.fingerprint,
        "block_string": architecture.block_string,
        "stages": _stages(whole),
    }
    if layers:
        row["layers"] = [
            {"path": layer.path, "operator": layer.op}
            | {name: getattr(layer, name) for name in _LAYER_FIELDS}
            for layer in whole.layers()
        ]
    if verify:
        row["verified"] = _verified(architecture, counted)
    return row


def _verified(architecture: Architecture, own: Cost) -> dict[str, Any]:
    from mnas_search.networks.reference_counters import count  # imports torch

    counted = count(architecture)
    found = (counted.params, counted.fvcore, counted.torch)
    return {**asdict(counted), "agree": found == (own.params, own.macs, 2 * own.macs)}


def _stages(whole: NetworkPlan) -> list[dict[str, Any]]:
    architecture = whole.architecture
    names = ["stem", *architecture.block_string.split(), "head"]
    parts: list[Sequence[PartPlan | BlockPlan]] = [[whole.stem], *whole.stages, [whole.head]]
    return [
        {
            "name": name,
            "out_channels": part[-1].out_channels,
            "out_size": part[-1].out_size,
            "params": sum(p.params for p in part),
            "macs": sum(p.macs for p in part),
            "memory": max(p.peak for p in part) * BYTES_PER_ELEMENT,
        }
        for name, part in zip(names, parts, strict=True)
    ]


def print_profiles(rows: Sequence[dict[str, Any]]) -> None:
    """Print tables."""
    for row in rows:
        columns = {"stage": "{name}", "out": "{out_channels}", "size": "{out_size}"}
        print_rows(_with_bytes(row["stages"]), columns | _COSTS, title=row["name"])
        for layer in row.get("layers", ()):
            console().print(_LAYER.format_map(layer))
    checked = [row for row in rows if "verified" in row]
    if checked:
        _print_verified(checked)
    columns = {"network": "{name}", "resolution": "{resolution}"}
    print_rows(_with_bytes(rows), columns | _COSTS)
    console().print(TABLE_CONVENTION)


def _with_bytes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"bytes": format_bytes(row["memory"])} for row in rows]


def _print_verified(rows: Sequence[dict[str, Any]]) -> None:
    words = {True: "agree", False: "DIFFER"}
    texts = [row | row["verified"] | {"own": row["params"]} for row in rows]
    for text in texts:
        text |= {"half": text["torch"] // 2, "word": words[text["agree"]]}
    columns = {"network": "{name}", "params: ours": "{own:,}", "torch": "{params:,}"}
    columns |= {"MACs: ours": "{macs:,}", "fvcore": "{fvcore:,}", "torch / 2": "{half:,}"}
    title = "counted by others (fvcore: convolutions and linear layers)"
    print_rows(texts, columns | {"": "{word}"}, title=title)
