"""A whole training step as one CUDA graph: forward and backward pass, loss and optimiser.

The product captures the network alone (`training.devices`). What this adds in speed says whether
the rest is worth capturing, and with several candidates in turns, each on a stream of its own,
whether one process can fill a card.
"""

import contextlib
from typing import final

import torch
from torch import nn
from torch.nn import functional as F

from mnas_search.training.loop import Images
from mnas_search.training.recipe import Recipe

_WARM_UP = 3  # steps before a capture


@final
class WholeStep:
    """Trains a network on random batches; without a GPU the same work runs eagerly."""

    def __init__(self, network: nn.Module, data: Images, recipe: Recipe) -> None:
        self._network, self._data, self._recipe = network.train(), data, recipe
        device = data.labels.device
        self._generator = torch.Generator(device).manual_seed(0)
        self._optimiser = recipe.optimiser.make(
            network, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        # A number would become a constant of the graph.
        self._rate = torch.tensor(recipe.learning_rate, device=device)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate
        index = torch.arange(recipe.batch_size, device=device)
        self._images, self._labels = data.batch(index), data.labels[index]
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None
        self._graph = self._captured() if device.type == "cuda" else None

    def step(self) -> None:
        """Train one step on a new batch."""
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            index = torch.randint(
                len(self._data),
                (self._recipe.batch_size,),
                generator=self._generator,
                device=self._labels.device,
            )
            images = self._data.batch(index)
            for augmentation in self._recipe.augmentations:
                images = augmentation(images, self._generator)
            self._images.copy_(images)
            self._labels.copy_(self._data.labels[index])
            self._rate.fill_(self._recipe.learning_rate)
            if self._graph is None:
                self._work()
            else:
                self._graph.replay()

    def _captured(self) -> torch.cuda.CUDAGraph:
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP):
                self._work()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            self._work()
        return graph

    def _work(self) -> None:
        kind = self._labels.device.type
        # Casts of weights that are kept between steps would be constants of the graph.
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda", cache_enabled=False):
            logits = self._network(self._data.normalise(self._images))
            smoothing = self._recipe.label_smoothing
            loss = F.cross_entropy(logits, self._labels, label_smoothing=smoothing)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimiser.step()
