"""Slices of a supernet that are trained a little further by themselves."""

from dataclasses import dataclass
from typing import final

import torch
from torch import nn
from torch.nn import functional as F

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.fidelity.place import Place, measured
from mnas_search.benchmarks.fidelity.supernets import SupernetTraining
from mnas_search.benchmarks.fidelity.tasks import Result, Task
from mnas_search.common.machine import one_thread
from mnas_search.networks import build
from mnas_search.networks.supernet import Supernet
from mnas_search.training.loop import Images
from mnas_search.training.optimisers import Sgd

_LEARNING_RATE, _BATCH = 0.05, 128


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTuning(Task):
    """The networks that proxies train, each started from its slice and trained for some steps."""

    training: SupernetTraining
    steps: int

    @property
    def key(self) -> str:
        """The supernet and the steps."""
        return f"slices trained for {self.steps} steps of {self.training.key}"

    def run(self, place: Place) -> Result:
        """Return cross-entropies, in the order of the networks."""
        subject, supernet = place.subject(), self.training.load(place)
        images, (pixels, labels) = self.training.trained(place), self.training.images(place)
        with one_thread(), measured() as seconds:
            found = []
            for row in subject.trained:
                network = tuned(supernet, subject.architecture(row), images, self.steps)
                with torch.inference_mode():  # batch norms still take the batch's statistics
                    found.append(float(F.cross_entropy(network(pixels), labels)))
            return {"cross_entropy": found, "seconds": seconds()}


def tuned(supernet: Supernet, architecture: Architecture, images: Images, steps: int) -> nn.Module:
    """Return a network, in training mode, that starts from its slice and has learnt the labels of
    `steps` batches, the same ones for every network, at a learning rate that falls to 0."""
    network = build(supernet.network_of(architecture))
    network.load_state_dict(supernet.slice(architecture))
    network.train().to(images.labels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = Sgd().make(network, learning_rate=_LEARNING_RATE, weight_decay=5e-4)
    draws = torch.Generator().manual_seed(0)
    for step in range(steps):
        index = torch.randint(len(images), (min(_BATCH, len(images)),), generator=draws)
        batch = images.normalise(images.batch(index))
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(batch), images.labels[index]).backward()  # type: ignore[no-untyped-call]
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * (1 - step / steps)
        optimiser.step()
    return network
