"""Proxies that learn from procedural images: short trainings, and a linear classifier."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.ranking import tasks
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.networks import build
from mnas_search.training.proxy import proxy_architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortTraining:
    """A short training; what is read are losses, negated: larger is better."""

    task: str  # by name (`tasks`)
    images: int  # how many there are; fewer than are trained on means several epochs
    # resolution, width: of the proxy
    resolution: int = 16
    width: float = 0.25
    # steps, batch_size: of the training
    steps: int = 200
    batch_size: int = 64
    # peak; linear warm-up over a tenth of the steps, then linear decay to zero, or constant where
    # `decay` is false
    learning_rate: float = 0.1
    decay: bool = True
    optimiser: str = "sgd"  # `sgd` (Nesterov momentum 0.9) or `adam`
    # steps after which the mean loss of the tenth of steps before is read
    reads: tuple[int, ...] = (50, 100, 200)

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Reading]:
        """Yield `loss@n` after n steps, and `loss sum` over all of them."""
        data = tasks.task(self.task, self.images, self.resolution)
        begun = time.process_time()
        torch.manual_seed(seed)
        small = proxy_architecture(
            architecture, width=self.width, resolution=self.resolution, num_classes=data.outputs
        )
        network = build(small).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        losses = []
        for loss in self._losses(network.train(), data):
            losses.append(loss)
            if len(losses) in self.reads:
                recent = losses[-max(1, len(losses) // 10) :]
                value = -sum(recent) / len(recent)
                spent = time.process_time() - begun
                yield Reading(name=f"loss@{len(losses)}", value=value, seconds=spent)
        yield Reading(name="loss sum", value=-sum(losses), seconds=time.process_time() - begun)

    def _losses(self, network: nn.Module, data: tasks.Task) -> Iterator[float]:
        optimiser: torch.optim.Optimizer
        if self.optimiser == "adam":
            optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        else:
            optimiser = torch.optim.SGD(
                network.parameters(),
                lr=self.learning_rate,
                momentum=0.9,
                nesterov=True,
                weight_decay=1e-4,
                fused=True,
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate)
        for index in self._batches(len(data.images)):
            loss = tasks.error(network(data.images[index]), data.labels[index])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            yield float(loss.detach())

    def _batches(self, count: int) -> Iterator[Tensor]:
        """Yield the same batches for every network."""
        generator = torch.Generator().manual_seed(0)
        given = 0
        while True:
            order = torch.randperm(count, generator=generator)
            whole = count // self.batch_size * self.batch_size
            for index in torch.split(order[:whole], self.batch_size):
                if given == self.steps:
                    return
                given += 1
                yield index

    def _rate(self, step: int) -> float:
        up = (step + 1) / max(1, self.steps // 10)
        down = (self.steps - step) / (self.steps - self.steps // 10) if self.decay else 1.0
        return min(up, down, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFeatures:
    """Ridge regression on the features before the classifier, in closed form."""

    task: str  # of images in classes, by name (`tasks`)
    images: int  # half of them fit, half of them are predicted
    resolution: int  # of the images; the network is the whole one
    ridge: float = 1e-2  # share of the features' mean variance that is added to each variance

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Reading]:
        """Yield `accuracy`, and `error`: the squared error of the one-hot answers, negated."""
        data = tasks.task(self.task, self.images, self.resolution)
        begun = time.process_time()
        torch.manual_seed(seed)
        network = build(architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.classifier = nn.Identity()
        with torch.inference_mode():
            parts = torch.split(data.images, 64)
            features = torch.cat([network.train()(part) for part in parts]).double()
            half = len(features) // 2
            answers = nn.functional.one_hot(data.labels, data.outputs).double()
            predicted = _ridge(features[:half], answers[:half], self.ridge)(features[half:])
            accuracy = (predicted.argmax(1) == data.labels[half:]).double().mean()
            error = ((predicted - answers[half:]) ** 2).mean()
        seconds = time.process_time() - begun
        yield Reading(name="accuracy", value=float(accuracy), seconds=seconds)
        yield Reading(name="error", value=-float(error), seconds=seconds)


def _ridge(features: Tensor, answers: Tensor, share: float) -> Callable[[Tensor], Tensor]:
    """Fit least squares with a penalty, features and answers centred; in its dual form [N, N]."""
    middle, mean = features.mean(0), answers.mean(0)
    centred = features - middle
    penalty = share * centred.square().sum() / centred.shape[1]
    kernel = centred @ centred.T + penalty * torch.eye(len(centred), dtype=centred.dtype)
    weights = centred.T @ torch.linalg.solve(kernel, answers - mean)
    return lambda others: (others - middle) @ weights + mean
