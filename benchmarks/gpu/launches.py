"""What a step of a candidate's training costs: B0's proxy on 32 pixels, a quarter of the width.

Networks this small wait for kernel launches. The rows say what is gained by layers with fewer
operations, by capturing the network as CUDA graphs and by capturing all of the step, how long a
capture takes and from how many steps on it pays; the last ones, what several candidates in turns
gain. The floor is the time to move each convolution's maps through memory once a pass; maps that
fit in a cache may be faster.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.gpu.graphs import WholeStep
from mnas_search.benchmarks.gpu.machine import bandwidth
from mnas_search.benchmarks.gpu.work import SIDE, Row, Work, rounded, seconds_of
from mnas_search.data import Split
from mnas_search.networks import build
from mnas_search.training import devices
from mnas_search.training.fast.layers import use_fast_layers, use_lean_layers, use_products
from mnas_search.training.loop import Images, Training, mixed_precision, normalisation
from mnas_search.training.proxy import proxy_architecture
from mnas_search.training.recipe import Recipe, proxy_recipe

Prepare = Callable[[nn.Module], None]
_STEPS = 30  # of an epoch
_BYTES = 2  # of an element in bfloat16
# A forward pass reads a convolution's input and writes its output; a backward pass reads the
# output's gradient and the input, and writes the input's gradient.
_INPUTS, _OUTPUTS = 3, 2


def run(work: Work) -> Iterator[Row]:
    """Yield a row for each way to run a step, then for several candidates."""
    recipe = replace(proxy_recipe(SIDE, 50_000).training, epochs=3)
    recipe = recipe.override(batch_size=work.choose(4, recipe.batch_size))
    network = _proxy(work)
    steps = work.choose(2, _STEPS)
    images = _images(work, recipe.batch_size * steps)
    floor = _floor(network, recipe.batch_size, bandwidth(work))
    eager: Row | None = None
    for name, prepare, captures in _ways(work):
        row = _timed(work, network, images, recipe, prepare, captures=captures)
        eager = eager or row
        gained = eager["ms a step"] - row["ms a step"]
        yield {
            "layers": name,
            "captured": captures,
            **row,
            "floor, ms": rounded(1_000 * floor),
            "times the floor": rounded(row["ms a step"] / (1_000 * floor)),
            "pays from step": _pays(row["s to prepare"], gained / 1_000),
        }
    yield from _together(work, network, images, recipe, steps)
    if work.device == "cuda":
        yield from _counted(work, network, images, recipe)


def _ways(work: Work) -> list[tuple[str, Prepare, bool]]:
    """Return how a step is run: a name, what changes the layers, whether it is captured."""
    changes: dict[str, Prepare] = {
        "as built": lambda network: None,
        "lean": use_lean_layers,
        "lean, products": _use_lean_layers_and_products,
    }
    if work.device == "cpu":
        changes["of CPUs"] = use_fast_layers
    captures = (False, True) if work.device == "cuda" else (False,)
    return [(name, change, capture) for capture in captures for name, change in changes.items()]


def _use_lean_layers_and_products(network: nn.Module) -> None:
    use_lean_layers(network)
    use_products(network)


def _timed(
    work: Work,
    proxy: Architecture,
    images: Images,
    recipe: Recipe,
    prepare: Prepare,
    *,
    captures: bool,
) -> Row:
    """Return what the product's own training takes: the faster of two epochs after a first one."""
    network = _built(proxy, work)
    training = Training(network, images, recipe, seed=0)
    batch = images.normalise(images.batch(slice(0, recipe.batch_size)))
    # What torch loads and chooses with the first steps of a process is no part of a capture.
    seconds_of(lambda: network(batch).sum().backward())
    network.zero_grad(set_to_none=True)
    prepare(network)
    ready = seconds_of(lambda: devices.capture(network, batch)) if captures else 0.0
    first, *others = (seconds_of(training.train_epoch) for _ in range(recipe.epochs))
    steps = len(images) // recipe.batch_size
    return {
        "ms a step": rounded(1_000 * min(others) / steps),
        "ms a step, first epoch": rounded(1_000 * first / steps),
        "s to prepare": rounded(ready),
    }


def _counted(work: Work, proxy: Architecture, images: Images, recipe: Recipe) -> Iterator[Row]:
    """Yield the kernels of a network's forward and backward pass, which torch's profiler counts;
    last, since a card may refuse the profiler."""
    batch = images.normalise(images.batch(slice(0, recipe.batch_size)))
    for name, prepare, captures in _ways(work):
        network = _built(proxy, work)
        prepare(network)
        if captures:
            devices.capture(network, batch)
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            with mixed_precision(batch.device):
                loss = network(batch).float().sum()
            torch.autograd.backward(loss)
            torch.cuda.synchronize()
        on_card = (e.device_type.name == "CUDA" for e in profiler.events())
        yield {"layers": name, "captured": captures, "kernels": sum(on_card)}


def _pays(ready: float, gained: float) -> int | None:
    """Return the number of steps from which on it pays to prepare; None where it never does."""
    return None if gained <= 0 else round(ready / gained)


def _together(
    work: Work, proxy: Architecture, images: Images, recipe: Recipe, steps: int
) -> Iterator[Row]:
    """Yield steps a second of several candidates in turns, in this process."""
    for count in work.choose((1, 2), (1, 2, 4, 8)):
        candidates = []
        for _ in range(count):
            network = _built(proxy, work)
            use_lean_layers(network)
            candidates.append(WholeStep(network, images, recipe))

        def train(candidates: list[WholeStep] = candidates) -> None:
            for candidate in candidates:
                candidate.step()

        seconds_of(train, 2)
        seconds = seconds_of(train, steps)
        yield {
            "layers": "lean",
            "captured": "whole step" if work.device == "cuda" else False,
            "candidates in turns": count,
            "ms a step of one": rounded(1_000 * seconds / count),
        }


def _floor(proxy: Architecture, batch: int, bytes_a_second: float) -> float:
    """Return the seconds to move the maps of all convolutions of a step through memory."""
    elements = sum(
        _INPUTS * layer.in_channels * layer.in_size**2
        + _OUTPUTS * layer.out_channels * layer.out_size**2
        for layer in plan(proxy).layers()
        if layer.op == "conv"
    )
    return batch * elements * _BYTES / bytes_a_second


def _proxy(work: Work) -> Architecture:
    return proxy_architecture(
        reference.architecture("efficientnet_b0"),
        width=work.choose(0.1, 0.25),
        resolution=SIDE,
        num_classes=10,
        divisor=1,
    )


def _built(proxy: Architecture, work: Work) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = build(proxy).to(work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _images(work: Work, count: int) -> Images:
    data = work.dataset()
    index = np.arange(count) % len(data.train.labels)
    split = Split(images=data.train.images[index], labels=data.train.labels[index])
    return Images(
        split,
        resolution=SIDE,
        normalisation=normalisation(split),
        flips=True,
        device=work.device,
    )
