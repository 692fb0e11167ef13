"""The memory model beside what torch's profiler counts, and a GPU's allocator where there is one.

Each network runs at its own resolution: one batch in inference, and a training step as
mnas-search's own loop makes it (RMSProp with momentum, average of weights, cross-entropy; the last
step's gradients are let go after the forward pass), weights and images channels last. (In the
other layout oneDNN copies maps and weights for itself.) On the CPU every tensor is made under the
profiler, whose allocations and releases are added up in their order; the peak counts.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from mnas_search import reference
from mnas_search.architecture.cost.memory import inference_memory, training_memory
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.results import versions
from mnas_search.networks import build
from mnas_search.training.ema import make_ema
from mnas_search.training.optimisers import RmsProp

NAMES = (*(f"efficientnet_b{i}" for i in range(5)), "mobilenet_v2", "resnet50")
_QUICK_NAMES, _QUICK_RESOLUTION = ("mobilenet_v2", "resnet50"), 96
_BATCHES = (8, 4, 2, 1)  # of training: the largest that fits
_MOST = 10 * 2**30  # bytes
_WARM_UP = 32  # pixels: of a step that makes optimiser state and gradients
_MIB = 2**20


def run(*, quick: bool, note: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row for each device, network and task."""
    names = _QUICK_NAMES if quick else NAMES
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    rows = []
    for device in devices:
        for architecture in architectures(names, quick=quick):
            note(f"{architecture.label} on {device}")
            rows += compare(architecture, device=device)
    return rows


def architectures(names: Sequence[str], *, quick: bool) -> list[Architecture]:
    """Return networks by name, at their own resolutions, or at a small one."""
    found = [reference.architecture(name) for name in names]
    return [replace(one, resolution=_QUICK_RESOLUTION) for one in found] if quick else found


def compare(architecture: Architecture, *, device: str = "cpu") -> list[dict[str, Any]]:
    """Return a row for inference at batch 1 and one for a training step."""
    batch = next(b for b in _BATCHES if b == 1 or training_memory(architecture, b) <= _MOST)
    tasks = (
        ("inference", 1, inference_memory(architecture), infer),
        ("training", batch, training_memory(architecture, batch), train),
    )
    return [
        {
            "network": architecture.label,
            "pixels": architecture.resolution,
            "device": device,
            "task": task,
            "batch": count,
            "model, MiB": round(model / _MIB, 1),
            "measured, MiB": round(measured / _MIB, 1),
            "model / measured": round(model / measured, 3),
            **versions("torch"),
        }
        for task, count, model, run_once in tasks
        for measured in (measure(partial(run_once, architecture, count, device), device),)
    ]


def measure(work: Callable[[], None], device: str) -> int:
    """Return the peak bytes of the tensors that are made while `work` runs."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    found = profiler.profiler.kineto_results.events()
    events = [event for event in found if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()  # negative where memory is given back
        peak = max(peak, live)
    return peak


def infer(architecture: Architecture, batch: int, device: str = "cpu") -> None:
    """Run one forward pass over one batch."""
    network = _network(architecture, device).eval()
    images = _images(batch, architecture.resolution, device)
    with torch.inference_mode():
        network(images)


def train(architecture: Architecture, batch: int, device: str = "cpu") -> None:
    """Run one training step, after a small one that makes optimiser state and gradients."""
    network = _network(architecture, device).train()
    optimiser = RmsProp().make(network, learning_rate=0.01, weight_decay=1e-5)
    average = make_ema(network, 0.9999)
    for count, side in ((2, _WARM_UP), (batch, architecture.resolution)):
        images = _images(count, side, device)
        labels = torch.zeros(count, dtype=torch.int64, device=device)
        loss = F.cross_entropy(network(images), labels, label_smoothing=0.1)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        average.update_parameters(network)


def _network(architecture: Architecture, device: str) -> nn.Module:
    network: nn.Module = build(architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _images(count: int, side: int, device: str) -> Tensor:
    return torch.rand(count, side, side, 3, device=device).permute(0, 3, 1, 2)
