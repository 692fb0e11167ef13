"""`mnas-search profile`: what a network costs, and where."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mnas_search.architecture.blocks import BlockPlan, NetworkPlan, PartPlan, plan
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT, CONVENTION
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.render.tables import console, print_table
from mnas_search.common.units import format_size


def profiles(
    architectures: Sequence[Architecture], *, layers: bool, verify: bool = False
) -> list[dict[str, Any]]:
    """One JSON object a network; `memory` is peak bytes of activations in fp32 inference,
    `inference_memory` with weights, buffers and the image.

    Args:
        layers: every layer too.
        verify: what other counters find in the network that is built.
    """
    return [
        _profile(architecture, layers=layers)
        | ({"verified": _verified(architecture)} if verify else {})
        for architecture in architectures
    ]


def _verified(architecture: Architecture) -> dict[str, Any]:
    from mnas_search.networks.reference_counters import count  # imports torch

    counted, own = count(architecture), cost(architecture)
    agree = (counted.params, counted.fvcore, counted.torch) == (
        own.params,
        own.macs,
        2 * own.macs,
    )
    return {**asdict(counted), "agree": agree}


def _profile(architecture: Architecture, *, layers: bool) -> dict[str, Any]:
    counted = cost(architecture)
    whole = plan(architecture)
    row: dict[str, Any] = {
        "name": architecture.label,
        "params": counted.params,
        "macs": counted.macs,
        "memory": counted.memory,
        "inference_memory": counted.inference_memory,
        "resolution": architecture.resolution,
        "fingerprint": architecture.fingerprint,
        "block_string": architecture.block_string,
        "stages": _stages(whole),
    }
    if layers:
        row["layers"] = [
            {
                "path": layer.path,
                "operator": layer.op,
                "in_channels": layer.in_channels,
                "out_channels": layer.out_channels,
                "kernel": layer.kernel,
                "stride": layer.stride,
                "groups": layer.groups,
                "out_size": layer.out_size,
                "params": layer.params,
                "macs": layer.macs,
            }
            for layer in whole.layers()
        ]
    return row


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
    """Tables for people."""
    for row in rows:
        print_table(
            ("stage", "out", "size", "params", "MACs", "memory"),
            [
                (
                    stage["name"],
                    str(stage["out_channels"]),
                    str(stage["out_size"]),
                    f"{stage['params']:,}",
                    f"{stage['macs']:,}",
                    f"{format_size(stage['memory'])}B",
                )
                for stage in row["stages"]
            ],
            title=row["name"],
        )
        for layer in row.get("layers", ()):
            console().print(
                f"  {layer['path']:<28} {layer['operator']:<10} {layer['params']:>10,} params "
                f"{layer['macs']:>14,} MACs"
            )
    checked = [row for row in rows if "verified" in row]
    if checked:
        print_table(
            ("network", "params: ours", "torch", "MACs: ours", "fvcore", "torch / 2", ""),
            [
                (
                    row["name"],
                    f"{row['params']:,}",
                    f"{row['verified']['params']:,}",
                    f"{row['macs']:,}",
                    f"{row['verified']['fvcore']:,}",
                    f"{row['verified']['torch'] // 2:,}",
                    "agree" if row["verified"]["agree"] else "DIFFER",
                )
                for row in checked
            ],
            title="counted by others (fvcore: convolutions and linear layers)",
        )
    print_table(
        ("network", "resolution", "params", "MACs", "memory"),
        [
            (
                row["name"],
                str(row["resolution"]),
                f"{row['params']:,}",
                f"{row['macs']:,}",
                f"{format_size(row['memory'])}B",
            )
            for row in rows
        ],
    )
    console().print(
        f"{CONVENTION}, at the resolution shown; memory: peak of activations, fp32 inference"
    )
