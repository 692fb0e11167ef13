"""The peer: a training loop as users of PyTorch write it.

Run as a module, in a process of its own without our settings, it reads what to train from
standard input and prints `[seconds, CPU seconds, accuracy]` of each candidate.
"""

import functools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
import torch._dynamo  # by optimisers, with the first one: no part of a candidate's time
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.proxy.workloads import Workload, candidates
from mnas_search.data import Dataset as Data
from mnas_search.data import Split, load
from mnas_search.data.preprocessing import Normalisation
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.networks import build
from mnas_search.training.augment.pipeline import Flip, Shift
from mnas_search.training.loop import normalisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of the loop.

    Attributes:
        threads: torch's.
        loaders: processes that load data.
        device: of the network, `cpu` or `cuda`.
        bfloat16: whether the network runs under autocast.
    """

    threads: int
    loaders: int
    device: str = "cpu"
    bfloat16: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What the loop gives of a candidate; its data loading processes count as CPU seconds."""

    seconds: float
    cpu: float
    accuracy: float


def train_plainly(
    workload: Workload, jobs: Sequence[tuple[int, int]], settings: Settings
) -> list[Trained]:
    """Train each job, (number of the candidate, seed), in a new process."""
    request = {"workload": asdict(workload), "jobs": list(jobs), "settings": asdict(settings)}
    ours = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in ours},
    )
    if done.returncode:
        raise RuntimeError(f"the plain loop failed: {done.stderr[-500:]}")
    return [Trained(**one) for one in json.loads(done.stdout)]


@final
class _Images(Dataset[tuple[Tensor, int]]):
    """Images one by one, augmented where they are for training."""

    def __init__(self, split: Split, mean: Tensor, std: Tensor, *, shift: int, flip: bool) -> None:
        self._images = torch.tensor(split.images).permute(0, 3, 1, 2).contiguous()
        self._labels = split.labels.tolist()
        self._mean, self._std = mean[:, None, None], std[:, None, None]
        self._shift, self._flip = shift, flip

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self._images[index].float() / 255
        if self._shift:
            side, most = image.shape[-1], self._shift
            top, left = random.randint(0, 2 * most), random.randint(0, 2 * most)
            padded = F.pad(image, (most,) * 4, mode="replicate")
            image = padded[:, top : top + side, left : left + side]
        if self._flip and random.random() < 0.5:
            image = image.flip(-1)
        return (image - self._mean) / self._std, self._labels[index]


def _loaders(
    workload: Workload, evaluator: ProxyTraining, settings: Settings
) -> list[DataLoader[Any]]:
    recipe = evaluator.recipe
    dataset, normal = _data(workload.data, recipe.resolution)
    mean, std = torch.tensor(normal.mean), torch.tensor(normal.std)
    shifts = [a.most for a in recipe.training.augmentations if isinstance(a, Shift)]
    flips = dataset.flips and any(isinstance(a, Flip) for a in recipe.training.augmentations)
    seen = dataset.train if recipe.fraction == 1 else dataset.train.part(recipe.fraction)
    train = _Images(seen, mean, std, shift=sum(shifts), flip=flips)
    validation = _Images(dataset.validation, mean, std, shift=0, flip=False)
    workers = settings.loaders
    return [
        DataLoader(
            train,
            recipe.training.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=settings.device == "cuda",
        ),
        DataLoader(validation, 512),
    ]


@functools.lru_cache(maxsize=1)
def _data(name: str, side: int) -> tuple[Data, Normalisation]:
    """Return the data, which users read once for many candidates, and their normalisation."""
    dataset = load(name, side=side)
    return dataset, normalisation(dataset.train)


def _train(
    network: nn.Module,
    evaluator: ProxyTraining,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    settings: Settings,
) -> float:
    device, autocast = settings.device, _autocast(settings)
    recipe = evaluator.recipe.training
    steps = recipe.epochs * len(train)
    optimiser = recipe.optimiser.make(
        network, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    for group in optimiser.param_groups:
        group["fused"] = None  # PyTorch's own choice, as where nobody asks for it
    scheduler = LambdaLR(
        optimiser, lambda step: recipe.schedule(step, steps=steps, epochs=recipe.epochs)
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    network.train()
    for _ in range(recipe.epochs):
        for images, labels in train:
            images, labels = images.to(device, non_blocking=True), labels.to(device)
            optimiser.zero_grad()
            with autocast:
                loss = criterion(network(images), labels)
            loss.backward()
            optimiser.step()
            scheduler.step()
    network.eval()
    right = 0
    with torch.no_grad(), autocast:
        for images, labels in validation:
            images, labels = images.to(device), labels.to(device)
            right += (network(images).argmax(1) == labels).sum().item()
    return right / len(validation.dataset)  # type: ignore[arg-type]


def _autocast(settings: Settings) -> torch.autocast:
    return torch.autocast(settings.device, torch.bfloat16, enabled=settings.bfloat16)


def train_one(
    workload: Workload,
    evaluator: ProxyTraining,
    architecture: Architecture,
    seed: int,
    settings: Settings,
) -> Trained:
    """Train a candidate in this process."""
    start, cpu = time.perf_counter(), _cpu()
    torch.manual_seed(seed)
    random.seed(seed)
    network = build(evaluator.proxy(architecture)).to(settings.device)
    accuracy = _train(network, evaluator, *_loaders(workload, evaluator, settings), settings)
    return Trained(seconds=time.perf_counter() - start, cpu=_cpu() - cpu, accuracy=accuracy)


def _cpu() -> float:
    return sum(os.times()[:4])


def _main() -> None:
    request = json.load(sys.stdin)
    workload, settings = Workload(**request["workload"]), Settings(**request["settings"])
    torch.set_num_threads(settings.threads)
    evaluator = workload.evaluator()
    numbers = [number for number, _ in request["jobs"]]
    networks = candidates(max(numbers) + 1)
    trained = [
        train_one(workload, evaluator, networks[n], s, settings) for n, s in request["jobs"]
    ]
    print(json.dumps([asdict(one) for one in trained]))


if __name__ == "__main__":
    _main()
