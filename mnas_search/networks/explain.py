"""Where in an image a network sees a class: maps over the positions of its last features.

    class_activation_map      exact; for networks that end in the mean over all positions and one
                              linear layer (arXiv 1512.04150), as every `Architecture` does
    gradient_activation_map   Grad-CAM (arXiv 1610.02391), for any other network of feature maps
    activation_map            the first where it is exact, else the second

All take a network and one image [1, 3, H, W] as the network wants it, and give an `ActivationMap`.
A network that was never trained has such maps too, and they mean nothing: `mnas-search explain`
refuses those, these functions cannot know.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor, nn

from mnas_search.common.errors import UsageError

# The last features are followed by few maps (pools, gates) and the modules wrapped around them;
# to keep all maps of a large network until its end would take gigabytes.
_KEPT = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationMap:
    """What each position of the last features says about one class.

    Attributes:
        values: [h, w]. Of `cam`, each position's contribution to the class's logit: their mean
            plus the classifier's bias is the logit. Of `grad-cam` never negative, on a scale of
            its own.
        method: which of the two.
        target: number of the class.
        logits: [classes], of the image.
    """

    values: Tensor
    method: Literal["cam", "grad-cam"]
    target: int
    logits: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        height, width = self.values.shape
        return height, width

    @property
    def probability(self) -> float:
        """Of the class, by the softmax over all."""
        return self.probability_of(self.target)

    @property
    def predicted(self) -> int:
        """The likeliest class."""
        return int(self.logits.argmax())

    def probability_of(self, target: int) -> float:
        """Of any class."""
        return float(self.logits.softmax(0)[target])


def activation_map(network: nn.Module, image: Tensor, target: int | None = None) -> ActivationMap:
    """The exact map where the network has one, else Grad-CAM's of its last features.

    Args:
        target: number of the class; None for the likeliest one.
    """
    found = _exact(network, image, target)
    return gradient_activation_map(network, image, target) if found is None else found


def class_activation_map(
    network: nn.Module, image: Tensor, target: int | None = None
) -> ActivationMap:
    """M_c(x, y) = sum over k of w_k^c f_k(x, y) (arXiv 1512.04150, eq. 2).

    f are the last features, w the rows of the classifier. The features are found by what becomes
    of them, not by a name: their mean over the positions is what the classifier is given.

    Args:
        target: number of the class c; None for the likeliest one.

    Raises:
        UsageError: the network does not end so.
    """
    found = _exact(network, image, target)
    if found is None:
        raise UsageError(
            f"{type(network).__name__} does not end in the mean of a map and one linear layer; "
            "allowed: networks that do, or gradient_activation_map"
        )
    return found


def gradient_activation_map(
    network: nn.Module, image: Tensor, target: int | None = None, *, layer: nn.Module | None = None
) -> ActivationMap:
    """relu(sum over k of a_k f_k(x, y)), with a_k the mean over all positions of the derivative
    of the class's logit by f_k (arXiv 1610.02391, eq. 1 and 2).

    Before a mean over h x w positions and a linear layer this is relu(M_c) / (h w), with M_c the
    exact map.

    Args:
        target: number of the class; None for the likeliest one.
        layer: the module whose output f is; None for the last one whose output is a map
            [1, C, h, w] of more than one position.

    Raises:
        UsageError: there is no such output, or the logit does not depend on it.
    """
    with torch.enable_grad():
        # A copy to write into, and no leaf, which would not allow that.
        seen = _run(network, image.detach().clone().requires_grad_().clone(), layer)
        target = _check_target(target, seen.logits)
        features = seen.last_map
        if features is None:
            raise UsageError(
                f"{_called(network, layer)} gives no map [1, C, h, w] of more than one position; "
                "allowed: networks with one, or another layer"
            )
        (slope,) = torch.autograd.grad(seen.logits[target], features, allow_unused=True)
    if slope is None:
        raise UsageError(
            f"the logits do not depend on the output of {_called(network, layer)}; allowed: "
            "another layer"
        )
    weights = slope[0].mean((1, 2))
    values = torch.einsum("k,khw->hw", weights, features.detach()[0]).relu()
    return ActivationMap(
        values=values, method="grad-cam", target=target, logits=seen.logits.detach()
    )


def _exact(network: nn.Module, image: Tensor, target: int | None) -> ActivationMap | None:
    with torch.no_grad():
        seen = _run(network, image.clone())  # the network may write into it
        target = _check_target(target, seen.logits)
        pooled = seen.pooled
        if pooled is None:
            return None
        head, features = pooled
        values = torch.einsum("k,khw->hw", head.weight[target], features[0])
    return ActivationMap(values=values, method="cam", target=target, logits=seen.logits)


@dataclass(slots=True, eq=False)
class _Seen:
    """What passed through a network.

    Attributes:
        logits: [classes].
        maps: the last outputs [1, C, h, w], in order of execution.
        head: the last linear layer, with what it was given and what it gave.
    """

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    maps: deque[Tensor] = field(default_factory=lambda: deque(maxlen=_KEPT))
    head: tuple[nn.Linear, Tensor, Tensor] | None = None

    @property
    def last_map(self) -> Tensor | None:
        """The last map of more than one position."""
        return next((m for m in reversed(self.maps) if m.shape[2] * m.shape[3] > 1), None)

    @property
    def pooled(self) -> tuple[nn.Linear, Tensor] | None:
        """The linear layer that gives the logits, and the map whose mean it was given; of
        several such maps (a pooled one is its own mean) the one of most positions."""
        if self.head is None:
            return None
        linear, given, made = self.head
        if made.shape != (1, len(self.logits)) or not torch.equal(made[0], self.logits):
            return None
        # The same sum in another order differs by rounding alone.
        near = torch.finfo(given.dtype).eps ** 0.5 * float(given.abs().max())
        means = [
            (m, m.mean((2, 3))) for m in self.maps if m.shape[1] == given.shape[-1] and m.numel()
        ]
        fitting = [m for m, mean in means if float((mean - given).abs().max()) <= near]
        if not fitting:
            return None
        return linear, max(fitting, key=lambda m: m.shape[2] * m.shape[3])


def _run(network: nn.Module, image: Tensor, layer: nn.Module | None = None) -> _Seen:
    """One forward pass in evaluation mode; with `layer`, only its own outputs are kept."""
    if image.ndim != 4 or len(image) != 1:
        raise UsageError(f"an image {list(image.shape)}; allowed: one, [1, 3, H, W]")
    seen = _Seen()

    def hear(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 4 and len(output) == 1 and layer in (None, module):
            seen.maps.append(output)
        if isinstance(module, nn.Linear) and inputs and isinstance(inputs[0], Tensor):
            seen.head = module, inputs[0], output

    handles = [module.register_forward_hook(hear) for module in network.modules()]
    try:
        with _evaluating(network):
            output = network(image)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"{type(network).__name__} gives {found}; allowed: logits [1, classes]")
    seen.logits = output[0]
    return seen


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module has its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check_target(target: int | None, logits: Tensor) -> int:
    if target is None:
        return int(logits.argmax())
    if not 0 <= target < len(logits):
        raise UsageError(f"class {target}; allowed: 0 to {len(logits) - 1}")
    return target


def _called(network: nn.Module, layer: nn.Module | None) -> str:
    return type(network if layer is None else layer).__name__
