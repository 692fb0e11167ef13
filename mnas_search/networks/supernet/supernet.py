"""The network that all networks of a space are slices of."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mnas_search.architecture.blocks import PartPlan, plan
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks.initialisation import classifier_bound, initialise_convolution
from mnas_search.networks.supernet.modules import Prepare, module_of_block, module_of_end
from mnas_search.networks.supernet.shapes import (
    Need,
    Shared,
    largest,
    needs_of_block,
    needs_of_end,
    parts_of,
    slices,
)

_CACHED = 256  # networks


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The stem, a block or the head of a network."""

    module: nn.Module
    prefix: str  # of its parameters in the network's state dict
    needs: tuple[Need, ...]


@final
class Supernet(nn.Module):
    """One set of weights for all networks of a space, each of which runs on a slice of them.

    For every stage, position in it, block kind and parameter there is one tensor of the largest
    shape that any network needs; a network takes the leading channels, and the centre of the
    kernel. Weight and bias of a batch norm are shared by blocks of one kernel size and expansion
    only. Blocks are computed by the modules of their kinds, a plug-in's too. Batch norms always
    normalise by the statistics of the batch: running ones would mix those of all networks.

        found = alternatives(space)
        supernet = Supernet(found.templates, found.stages)
        logits = supernet.logits(space.decode(choices), images)

    Kernels and channels as slices of the largest: BigNAS (arXiv 2003.11142).

    Args:
        templates: networks with every stem and head that occur; their stages are ignored.
        stages: the stages that occur at each place.
        network_of: gives the network that runs for one of the space, such as a narrower one, whose
            parts `templates` and `stages` are; None for the network itself.
        prepare: replaces layers of a module by faster ones, in place; None for none.
    """

    def __init__(
        self,
        templates: Collection[Architecture],
        stages: Sequence[Collection[Stage]],
        *,
        network_of: Callable[[Architecture], Architecture] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        super().__init__()
        self._network_of, self._prepare = network_of, prepare
        found = largest(templates, stages)
        self.weights = nn.ParameterDict({name: _initial(one) for name, one in found.items()})
        self._parts: dict[Architecture, tuple[_Part, ...]] = {}

    def network_of(self, architecture: Architecture) -> Architecture:
        """Return the network that runs for one of the space."""
        return architecture if self._network_of is None else self._network_of(architecture)

    def logits(self, architecture: Architecture, images: Tensor) -> Tensor:
        """Compute the logits [N, classes] of normalised images [N, 3, R, R] by a network of the
        space; all batch norms take the statistics of these images."""
        x = images
        for part in self._parts_of(architecture):
            weights = {need.name: self._cut(need) for need in part.needs}
            x = functional_call(part.module, weights, (x,))
        return x

    def slice(self, architecture: Architecture) -> dict[str, Tensor]:
        """Return a copy of a network's weights, a state dict for
        `build(supernet.network_of(architecture))`, with the running statistics of a new network
        (see `mnas_search.training.supernet.inherit`)."""
        state: dict[str, Tensor] = {}
        for part in self._parts_of(architecture):
            for need in part.needs:
                name = f"{part.prefix}{need.name}"
                state[name] = self._cut(need).detach().clone()
                if need.layer.op == "batch_norm" and name.endswith(".bias"):
                    state |= _new_statistics(name.removesuffix("bias"), state[name])
        return state

    def _parts_of(self, architecture: Architecture) -> tuple[_Part, ...]:
        parts = self._parts.get(architecture)
        if parts is None:
            if len(self._parts) == _CACHED:
                del self._parts[next(iter(self._parts))]
            parts = tuple(self._make_parts(self.network_of(architecture)))
            self._parts[architecture] = parts
        return parts

    def _make_parts(self, network: Architecture) -> Iterator[_Part]:
        for part in parts_of(plan(network)):
            if isinstance(part, PartPlan):
                module = module_of_end(network, part, self._prepare)
                yield _Part(module=module, prefix="", needs=tuple(needs_of_end(part)))
            else:
                index, position, _, block = part
                module = module_of_block(block, network.bn_eps, self._prepare)
                prefix, needs = f"blocks.{index}.{position}.", tuple(needs_of_block(*part))
                yield _Part(module=module, prefix=prefix, needs=needs)

    def _cut(self, need: Need) -> Tensor:
        """Return the part of a shared parameter that a network needs."""
        weight = self.weights[need.shared] if need.shared in self.weights else torch.empty(0)
        if weight.shape == need.shape:
            return weight
        pairs = zip(weight.shape, need.shape, strict=False)
        if weight.ndim != len(need.shape) or any(own < wanted for own, wanted in pairs):
            raise UsageError(
                "architecture must be of the supernet's space, got one with "
                f"{need.shared} {list(need.shape)}"
            )
        return weight[slices(tuple(weight.shape), need.shape)].contiguous()


def _initial(shared: Shared) -> Tensor:
    """Draw the initial value of a shared parameter as `initialise` draws a network's."""
    value, layer = torch.zeros(shared.shape), shared.layer
    if shared.name == "bias":
        return value
    if layer.op == "batch_norm":
        return value.fill_(1.0)
    if layer.op == "conv":
        initialise_convolution(value, layer.groups)
        return value
    bound = classifier_bound(layer.in_channels, layer.out_channels)
    return nn.init.uniform_(value, -bound, bound)


def _new_statistics(prefix: str, bias: Tensor) -> dict[str, Tensor]:
    return {
        f"{prefix}running_mean": torch.zeros_like(bias),
        f"{prefix}running_var": torch.ones_like(bias),
        f"{prefix}num_batches_tracked": torch.zeros((), dtype=torch.int64, device=bias.device),
    }
