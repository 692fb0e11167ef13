"""What an untrained network's features are worth to a linear classifier."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.ranking import tasks
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.networks import build

_BATCH = 64


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
            features = torch.cat(
                [network.train()(p) for p in torch.split(data.images, _BATCH)]
            ).double()
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
