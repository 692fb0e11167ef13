"""Memory of a network in bytes, in inference and in training, in fp32.

Inference needs weights and buffers, the images, and the largest set of activations that are live
at once. A training step needs weights, gradients, optimiser state, the moving average of weights
and buffers, and the tensors that autograd saves for the backward pass. `PlanBuilder` tracks all
tensors layer by layer; docs/memory.md compares both figures with torch's profiler. Not included:
kernels, workspaces and the process itself, labels, dropout masks.
"""

import os

from mnas_search.architecture.blocks import BlockPlan, NetworkPlan, PartPlan, plan
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT
from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import check_integer
from mnas_search.common.errors import UsageError, shorten

# An update of all parameters at once writes decayed gradients and the roots of mean squares.
_UPDATE_COPIES = 2
_MAX_SHOWN = 80  # characters of a label in a message


def inference_memory(architecture: Architecture, batch_size: int = 1) -> int:
    """Compute the bytes of weights, buffers, images, and activations at their peak."""
    check_integer("batch_size", batch_size, 1)
    whole = plan(architecture)
    stem, *others = whole.parts  # the images are the stem's input
    images = _images(architecture)
    live = max(stem.peak, *(images + part.peak for part in others))
    return sum(part.state_bytes for part in whole.parts) + batch_size * live * BYTES_PER_ELEMENT


def training_memory(
    architecture: Architecture, batch_size: int, *, optimiser_slots: int = 2, ema: bool = True
) -> int:
    """Compute the bytes at the peak of a training step.

    The peak is at one of three moments: the end of the forward pass, when all saved tensors and
    the last step's gradients are live; the backward pass of a part, when its working tensors are
    added but later parts have released their saved tensors; or the optimiser's update.

    Args:
        batch_size: images of one step on one device.
        optimiser_slots: values that the optimiser keeps per parameter: 2 for Adam and for RMSProp
            with momentum, 1 for SGD with momentum.
        ema: whether a moving average of weights and buffers is kept.
    """
    check_integer("batch_size", batch_size, 1)
    check_integer("optimiser_slots", optimiser_slots, 0)
    whole = plan(architecture)
    weights = _params(whole) * BYTES_PER_ELEMENT
    state = sum(part.state_bytes for part in whole.parts)  # with batch norm's buffers
    constant = state * (2 if ema else 1) + optimiser_slots * weights
    update = (1 + _UPDATE_COPIES) * weights
    return constant + max(update, _passes(whole, batch_size) * BYTES_PER_ELEMENT)


def check_room(architecture: Architecture, *, copies: int, batch_size: int) -> None:
    """Raise `UsageError` if inference needs more memory than the machine has.

    Args:
        copies: of weights and buffers that exist at once.
        batch_size: images per forward pass.
    """
    available = physical_memory()
    state = sum(part.state_bytes for part in plan(architecture).parts)
    needed = inference_memory(architecture, batch_size) + (copies - 1) * state
    if available is not None and needed > available:
        raise UsageError(
            f"{shorten(architecture.label, _MAX_SHOWN)!r} at {architecture.resolution} pixels "
            f"needs {needed / 1e9:,.1f} GB of memory, this machine has {available / 1e9:.1f} GB"
        )


def physical_memory() -> int | None:
    """Return the bytes of memory of this machine; None if the system does not tell."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def saved_elements(architecture: Architecture) -> int:
    """Count the elements per image that autograd keeps after a forward pass, image included."""
    return sum(_saved(plan(architecture)))


def _passes(whole: NetworkPlan, batch_size: int) -> int:
    """Count the elements at the peak of forward and backward pass: gradients of parameters, saved
    tensors, working tensors. Gradients through a part are as large as its activations."""
    peak, saved = 0, 0
    gradients = _params(whole)
    written = gradients  # after the backward pass of a part: its own and those of later parts
    for part, kept in zip(whole.parts, _saved(whole), strict=True):
        saved += batch_size * kept + _statistics(part)
        peak = max(peak, saved + batch_size * part.peak + written)
        written -= part.params
    return max(peak, saved + gradients)


def _saved(whole: NetworkPlan) -> list[int]:
    """Count the elements per image that each part adds to those kept. A map between two parts is
    kept once, whichever of them needs it; the images are kept in any case."""
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
    """Count the batch means and variances that batch norm saves."""
    return sum(2 * layer.out_channels for layer in part.layers if layer.op == "batch_norm")
