"""Bytes that a network takes, running and in training, in fp32.

Running, it holds its weights and buffers, the images, and the largest set of activations that are
live at once. A training step holds, of the parameters, weights, gradients and optimiser state; the
average of weights and buffers; and what autograd saves for the backward pass. All tensors are
followed layer by layer while plans are built (`architecture/blocks/plan_builder.py`), and both
figures are held against torch's profiler (docs/memory.md). What libraries take beside tensors
(kernels, workspaces, the process itself) is not in them, nor are labels and masks of dropout.
"""

import os

from mnas_search.architecture.blocks import BlockPlan, NetworkPlan, PartPlan, plan
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, shorten

# An update over all parameters at once writes decayed gradients and the roots of mean squares.
_UPDATE_COPIES = 2
_SHOWN = 80  # characters of a label, in messages


def inference_memory(architecture: Architecture, batch_size: int = 1) -> int:
    """Bytes of weights, buffers, images, and activations at their peak."""
    _check("batch_size", batch_size, 1)
    whole = plan(architecture)
    stem, *others = whole.parts  # the images are the stem's own input
    images = _images(architecture)
    live = max(stem.peak, *(images + part.peak for part in others))
    return sum(part.state_bytes for part in whole.parts) + batch_size * live * BYTES_PER_ELEMENT


def training_memory(
    architecture: Architecture, batch_size: int, *, optimiser_slots: int = 2, ema: bool = True
) -> int:
    """Bytes at the peak of a training step.

    Three moments compete: the end of the forward pass, where all that autograd saves is there
    beside the last step's gradients; the backward pass of each part, where its working tensors
    come on top but later parts have let go of what they saved; the optimiser's update.

    Args:
        batch_size: images of one step on one device.
        optimiser_slots: values an optimiser keeps a parameter: 2 of RMSProp with momentum and of
            Adam, 1 of SGD with momentum.
        ema: whether an average of weights and buffers is kept.
    """
    _check("batch_size", batch_size, 1)
    _check("optimiser_slots", optimiser_slots, 0)
    whole = plan(architecture)
    weights = _params(whole) * BYTES_PER_ELEMENT
    averaged = sum(part.state_bytes for part in whole.parts)  # with batch norm's buffers
    held = averaged + optimiser_slots * weights + (averaged if ema else 0)
    update = (1 + _UPDATE_COPIES) * weights
    return held + max(update, _passes(whole, batch_size) * BYTES_PER_ELEMENT)


def check_room(architecture: Architecture, *, copies: int, batch_size: int) -> None:
    """Refuse, before it is built, what this machine cannot hold.

    Args:
        copies: of weights and buffers that are there at once.
        batch_size: images that are run at once.

    Raises:
        UsageError: more bytes are needed than the machine has.
    """
    there = physical_memory()
    held = sum(part.state_bytes for part in plan(architecture).parts)
    needed = inference_memory(architecture, batch_size) + (copies - 1) * held
    if there is not None and needed > there:
        raise UsageError(
            f"{shorten(architecture.label, _SHOWN)!r} at {architecture.resolution} pixels needs "
            f"{needed / 1e9:,.1f} GB of memory, which is {there / 1e9:.1f} GB here; allowed: a "
            "smaller network or resolution"
        )


def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where it does not say."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def saved_elements(architecture: Architecture) -> int:
    """Elements of one image that autograd keeps at the end of a forward pass, images included."""
    return sum(_saved(plan(architecture)))


def _passes(whole: NetworkPlan, batch_size: int) -> int:
    """Elements at the peak of forward and backward pass: gradients of parameters, saved tensors,
    working tensors. The gradients that go back through a part are as large as its activations."""
    peak, saved = 0, 0
    gradients = _params(whole)
    written = gradients  # when the backward pass is done with a part: its own and later ones
    for part, kept in zip(whole.parts, _saved(whole), strict=True):
        saved += batch_size * kept + _statistics(part)
        peak = max(peak, saved + batch_size * part.peak + written)
        written -= part.params
    return max(peak, saved + gradients)


def _saved(whole: NetworkPlan) -> list[int]:
    """What each part adds to the elements of one image that are kept. A map between two parts is
    kept once, whichever of them asks for it; the images are there anyway."""
    rows = []
    kept, between = True, 0
    for part in whole.parts:
        rows.append(part.saved_for_backward + (between if part.saves_input and not kept else 0))
        kept, between = part.saves_output, part.out_channels * part.out_size**2
    rows[0] += _images(whole.architecture)
    return rows


def _images(architecture: Architecture) -> int:
    return 3 * architecture.resolution**2


def _params(whole: NetworkPlan) -> int:
    return sum(part.params for part in whole.parts)


def _statistics(part: PartPlan | BlockPlan) -> int:
    """Elements of means and variances, as batch norm has them as buffers and saves a batch's."""
    return sum(2 * layer.out_channels for layer in part.layers if layer.op == "batch_norm")


def _check(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UsageError(f"{name} {value!r}; allowed: a whole number from {low}")
