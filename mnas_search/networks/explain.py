"""Class activation maps: the contribution of each position of the last features to a class.

    activation_map            the exact map (arXiv 1512.04150) of a network that ends in global
                              average pooling and one linear layer, as every `Architecture` does;
                              else Grad-CAM
    gradient_activation_map   Grad-CAM (arXiv 1610.02391), for any network of feature maps

Both take a network and one normalised image [1, 3, H, W] and return an `ActivationMap`. Maps of an
untrained network are meaningless, which these functions cannot detect.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor, nn

from mnas_search.common.errors import UsageError

# The last features are followed by few maps (pools, gates) and wrapping modules; keeping all maps
# of a large network would take gigabytes.
_MAX_MAPS = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationMap:
    """The activation map of one class.

    Attributes:
        values: [h, w]. For `cam` contributions to the logit of the class: their mean plus the
            classifier's bias is the logit. For `grad-cam` non-negative, on an arbitrary scale.
        method: the method that computed it.
        target: index of the class.
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
        """Softmax probability of the class."""
        return self.probability_of(self.target)

    @property
    def predicted(self) -> int:
        """Index of the most probable class."""
        return int(self.logits.argmax())

    def probability_of(self, target: int) -> float:
        """Return the softmax probability of a class."""
        return float(self.logits.softmax(0)[target])


def activation_map(network: nn.Module, image: Tensor, target: int | None = None) -> ActivationMap:
    """Compute the exact map if the network has one, else Grad-CAM of its last features.

    The exact map is M_c(x, y) = sum over k of w_k^c f_k(x, y) (arXiv 1512.04150, eq. 2), where f
    are the features whose mean over all positions is the classifier's input, and w its rows.

    Args:
        target: index of the class c; None for the most probable one.
    """
    found = _exact(network, image, target)
    return gradient_activation_map(network, image, target) if found is None else found


def gradient_activation_map(
    network: nn.Module, image: Tensor, target: int | None = None, *, layer: nn.Module | None = None
) -> ActivationMap:
    """Compute Grad-CAM: relu(sum over k of a_k f_k(x, y)), where a_k is the mean over all
    positions of the derivative of the logit by f_k (arXiv 1610.02391, eq. 1 and 2).

    Before a mean over h x w positions and a linear layer, it equals relu(M_c) / (h w) for the
    exact map M_c.

    Args:
        target: index of the class; None for the most probable one.
        layer: the module whose output is f; None for the last module whose output is a map
            [1, C, h, w] of more than one position.

    Raises:
        UsageError: there is no such output, or the logit does not depend on it.
    """
    with torch.enable_grad():
        # The network may write into its input, which a leaf tensor does not allow.
        seen = _run(network, image.detach().clone().requires_grad_().clone(), layer)
        target = _check_target(target, seen.logits)
        features = seen.last_map
        if features is None:
            raise UsageError(
                f"the output of {_called(network, layer)} must be a map [1, C, h, w] of more than "
                "one position"
            )
        (slope,) = torch.autograd.grad(seen.logits[target], features, allow_unused=True)
    if slope is None:
        raise UsageError(f"the logits do not depend on the output of {_called(network, layer)}")
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
    """Intermediate results of a forward pass.

    Attributes:
        logits: [classes].
        maps: the last outputs [1, C, h, w], in order of execution.
        head: the last linear layer with its input and output.
    """

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    maps: deque[Tensor] = field(default_factory=lambda: deque(maxlen=_MAX_MAPS))
    head: tuple[nn.Linear, Tensor, Tensor] | None = None

    @property
    def last_map(self) -> Tensor | None:
        """The last map of more than one position."""
        return next((m for m in reversed(self.maps) if m.shape[2] * m.shape[3] > 1), None)

    @property
    def pooled(self) -> tuple[nn.Linear, Tensor] | None:
        """The linear layer that computes the logits, and the map whose mean is its input; of
        several such maps (a pooled map is its own mean) the one with most positions."""
        if self.head is None:
            return None
        linear, given, made = self.head
        if made.shape != (1, len(self.logits)) or not torch.equal(made[0], self.logits):
            return None
        # The order of summation changes the result by rounding only.
        near = torch.finfo(given.dtype).eps ** 0.5 * float(given.abs().max())
        means = [
            (m, m.mean((2, 3))) for m in self.maps if m.shape[1] == given.shape[-1] and m.numel()
        ]
        fitting = [m for m, mean in means if float((mean - given).abs().max()) <= near]
        if not fitting:
            return None
        return linear, max(fitting, key=lambda m: m.shape[2] * m.shape[3])


def _run(network: nn.Module, image: Tensor, layer: nn.Module | None = None) -> _Seen:
    """Run a forward pass in evaluation mode, and keep the maps (of `layer` only, if given)."""
    if image.ndim != 4 or len(image) != 1:
        raise UsageError(f"image must be [1, 3, H, W], got {list(image.shape)}")
    seen = _Seen()

    def record(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 4 and len(output) == 1 and layer in (None, module):
            seen.maps.append(output)
        if isinstance(module, nn.Linear) and inputs and isinstance(inputs[0], Tensor):
            seen.head = module, inputs[0], output

    handles = [module.register_forward_hook(record) for module in network.modules()]
    try:
        with _evaluating(network):
            output = network(image)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(
            f"the output of {type(network).__name__} must be logits [1, classes], got {found}"
        )
    seen.logits = output[0]
    return seen


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode, and restore the mode of each module afterwards."""
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
        raise UsageError(f"class must be from 0 to {len(logits) - 1}, got {target}")
    return target


def _called(network: nn.Module, layer: nn.Module | None) -> str:
    return type(network if layer is None else layer).__name__
