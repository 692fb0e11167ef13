"""EfficientNet-B0 exported by mnas-search, and timm's and torchvision's exported the same way.

The three networks run in turns with the reference network of latency measurements, untrained,
at 224 pixels, each exported whole: to ONNX Runtime, and compiled by torch.compile
from `torch.export`.
"""

import platform
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from mnas_search import reference
from mnas_search.architecture.cost.latency.conditions import Conditions, describe, machine
from mnas_search.common.extras import can_import, describe_missing
from mnas_search.evaluators.latency.devices import prepare, ready
from mnas_search.evaluators.latency.measuring import reference_run
from mnas_search.evaluators.latency.stopwatch import measure
from mnas_search.networks import build

NAME, _SIDE, _QUICK_SIDE = "efficientnet_b0", 224, 64
DEVICES = ("onnxruntime", "compiled")


PEERS: Mapping[str, Callable[[], nn.Module]] = {
    "timm": lambda: import_module("timm").create_model(NAME),
    "torchvision": lambda: import_module("torchvision.models").efficientnet_b0(),
}


def run(
    devices: tuple[str, ...], *, turns: int, quick: bool, note: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for each device and library."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "mnas-search": lambda: build(reference.architecture(NAME))
    }
    for name, make in PEERS.items():
        if can_import(name):
            makers[name] = make
        else:
            note(describe_missing(name, name))
    side = _QUICK_SIDE if quick else _SIDE
    return [row for device in devices for row in _rows(device, makers, turns, side, note)]


def _rows(
    device: str,
    makers: Mapping[str, Callable[[], nn.Module]],
    turns: int,
    side: int,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    conditions = Conditions(device=device)
    with ready(conditions):
        note(f"{device}: exporting {', '.join(makers)}")
        images = torch.rand(1, 3, side, side)
        runs = [prepare(make(), images, conditions) for make in makers.values()]
        session = measure(runs, reference_run(conditions), turns=turns, note=note)
    ours = session.shares[0, 0]
    return [
        {
            "device": device,
            "library": library,
            "pixels": side,
            "median, ms": round(1e3 * latency.seconds, 3),
            "low": round(1e3 * latency.low, 3),
            "high": round(1e3 * latency.high, 3),
            "ours over it": round(float(ours / share), 3),
            "turns": turns,
            "on": f"{describe(machine(conditions))}, Python {platform.python_version()}",
        }
        for library, latency, share in zip(
            makers, session.latencies(), session.shares[:, 0], strict=True
        )
    ]
