"""The evaluator `supernet`: reads networks with the weights of a network trained once for all."""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, single_line
from mnas_search.common.files import waiting_lock
from mnas_search.data import Split, cache, load
from mnas_search.nas.evaluator import PriorMember, PriorTimes, Resources
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.trial import Evaluation
from mnas_search.networks.supernet import Supernet
from mnas_search.networks.weights.reading import is_whole
from mnas_search.training import devices
from mnas_search.training.proxy import check_distinct
from mnas_search.training.supernet import (
    SupernetRecipe,
    read_supernet,
    reading_images,
    supernet_recipe,
    train_supernet,
    training_key,
    training_steps,
)
from mnas_search.training.supernet.paths import Paths
from mnas_search.training.supernet.recipe import MAX_SIDE

_LOG = logging.getLogger(__name__)
_CHECKPOINTS = 20
_WARM_UP, _MEASURED = 2, 4  # steps and readings
_MAX_EPOCHS = 100  # of the training of a prior's member, by default


@final
class SupernetReadings(PriorMember):
    """Measures exp(-cross-entropy) of networks with the weights of a supernet.

        mnas-search run --target-flops 20M --data photos --evaluator supernet

    The supernet is trained once, by the first evaluation; its file is kept in the cache folder,
    where further workers, and later runs with the same space, data and recipe, read it. The
    figures rank networks; they are not accuracies of trained networks, and comparable only among
    networks of one supernet. The accuracy with its weights is in `info`.

    As a prior (`--prior supernet`), several are trained before a search: its members.

    Args:
        data: what `mnas_search.data.load` takes; None: scikit-learn's digits.
        proxy: what to change in the recipe, as in `steps=800,width=0.5`; see `SupernetRecipe`.
            Another `fold` gives another supernet, trained on other images with another seed.
        deployment: resolution of the networks, which is at most that of the images.
    """

    def __init__(
        self, *, data: str | None = None, proxy: str | None = None, deployment: int | None = None
    ) -> None:
        side, device = min(MAX_SIDE, deployment or MAX_SIDE), devices.device()
        wanted = supernet_recipe(side, device).override(proxy).resolution
        dataset = load(data, side=wanted or side)
        found = min(side, dataset.train.images.shape[1])
        self.recipe: SupernetRecipe = supernet_recipe(found, device).override(proxy)
        self.num_classes, self.data_sha256 = dataset.num_classes, dataset.sha256
        # Other splits are not even handed to the workers.
        one = Split(images=dataset.train.images[:1], labels=dataset.train.labels[:1])
        self._data = replace(dataset, validation=one, test=one)
        self._seed = self.recipe.fold
        self._allows: Callable[[Network], bool] | None = None  # to be drawn in a step
        self._space: SearchSpace | None = None
        self._file: Path | None = None
        self._trained: tuple[Supernet, Tensor, Tensor] | None = None  # stays in its process

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trained": None}

    def for_space(self, space: SearchSpace) -> "SupernetReadings":
        """Return the evaluator for the networks of a space."""
        check_distinct(space, width=self.recipe.width, divisor=self.recipe.divisor)
        other = copy.copy(self)
        other._space, other._trained = space, None
        key = training_key(space, self._data, self.recipe, seed=self._seed)
        try:
            other._file = cache.folder() / "supernets" / f"{key}.pt"
            other._file.parent.mkdir(parents=True, exist_ok=True)
        except (RuntimeError, OSError) as error:
            _LOG.warning("every worker trains its own supernet: no cache folder: %s", error)
            other._file = None
        return other

    @property
    def resources(self) -> Resources:
        """One CPU, and a share of the GPUs where there are any."""
        return Resources(cpus=1, gpus=None)

    @property
    def noisy(self) -> bool:
        """False: all readings are of one supernet."""
        return False

    @property
    def label(self) -> str:
        """What is read."""
        return "exp(-cross-entropy)"

    def caveats(self, network: Network) -> tuple[str, ...]:
        """Return what the supernet was, and what is odd about the data."""
        del network
        recipe, name = self.recipe, self._data.name
        figures = (
            f"figures are exp(-cross-entropy) with the weights of one supernet on {name}: "
            f"{recipe.width:g} of the width, {recipe.resolution} pixels, {recipe.steps:,} steps "
            f"of {recipe.batch_size} images; they rank networks, and are not accuracies that "
            "training would give"
        )
        return (figures, *(single_line(f"data {name}: {note}") for note in self._data.notes))

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Yield exp(-cross-entropy) as the accuracy; the seed is not used.

        Raises:
            UsageError: the evaluator has no search space, or the network is of another one.
        """
        del seed
        if not isinstance(network, Architecture):
            raise UsageError(f"supernet requires networks of stages, got {network.label!r}")
        supernet, images, labels = self._prepared()
        (reading,) = read_supernet(supernet, [network], images, labels)
        info = {"accuracy": reading.accuracy, "cross_entropy": reading.cross_entropy}
        yield Evaluation(accuracy=math.exp(-reading.cross_entropy), info=info)

    def measure_prior(self, allows: Callable[[Network], bool]) -> PriorTimes:
        """Measure steps of a supernet, and readings of networks that are new to it."""
        assert self._space is not None
        recipe = replace(self.recipe, steps=_WARM_UP + _MEASURED)
        times: list[float] = []
        supernet = train_supernet(
            *(self._space, self._data, recipe),
            seed=self._seed,
            allows=allows,
            progress=lambda *_: times.append(time.perf_counter()),
        )
        paths = Paths(self._space, seed=self._seed + 1, allows=allows)
        networks = [paths.random(number) for number in range(_WARM_UP + _MEASURED)]
        images, labels = reading_images(self._data, recipe)
        read_supernet(supernet, networks[:_WARM_UP], images, labels)
        begun = time.perf_counter()
        read_supernet(supernet, networks[_WARM_UP:], images, labels)
        reading = (time.perf_counter() - begun) / _MEASURED
        epoch = len(self._data.train.labels) / recipe.batch_size
        return PriorTimes(
            step=(times[-1] - times[_WARM_UP]) / _MEASURED,
            reading=reading,
            max_steps=max(recipe.steps, round(_MAX_EPOCHS * epoch)),
            gpus=torch.cuda.device_count() if devices.device() == "cuda" else 0,
        )

    def prior_member(
        self,
        index: int,
        count: int,
        *,
        steps: int,
        seed: int,
        checkpoint: Path,
        allows: Callable[[Network], bool],
    ) -> "SupernetReadings":
        """Return a supernet with its own seed, which is not trained on its own fold."""
        other = copy.copy(self)
        folds = max(self.recipe.folds, count)
        other.recipe = replace(self.recipe, steps=steps, fold=index, folds=folds)
        other._seed, other._file, other._allows, other._trained = seed, checkpoint, allows, None
        return other

    def train(self) -> Iterator[int]:
        """Train from the checkpoint to the end."""
        assert self._space is not None
        self._discard_damaged()
        for training in training_steps(
            *(self._space, self._data, self.recipe),
            seed=self._seed,
            allows=self._allows,
            checkpoint=self._file,
            every=self._every,
        ):
            if training.step and training.step % self._every == 0:
                yield training.step
        images, labels = reading_images(self._data, self.recipe)
        self._trained = training.supernet, images, labels

    def _discard_damaged(self) -> None:
        """Remove a damaged checkpoint: trained again, the weights are the same."""
        if self._file is not None and self._file.exists() and not is_whole(self._file):
            _LOG.warning("%s is damaged: the supernet is trained again", self._file)
            self._file.unlink()

    @property
    def _every(self) -> int:
        """Steps between checkpoints."""
        return max(1, self.recipe.steps // _CHECKPOINTS)

    def _prepared(self) -> tuple[Supernet, Tensor, Tensor]:
        if self._space is None:
            raise UsageError(
                "evaluator 'supernet' requires a search space, as `mnas-search run` has one"
            )
        if self._trained is None:
            images, labels = reading_images(self._data, self.recipe)
            self._trained = self._train(self._space), images, labels
        return self._trained

    def _train(self, space: SearchSpace) -> Supernet:
        """Train the supernet, or read it where another process has trained it."""

        def train() -> Supernet:
            every = self._every

            def progress(step: int, steps: int) -> None:
                if step < steps and step % every == 0:
                    _LOG.info("supernet: step %d of %d", step, steps)

            return train_supernet(
                *(space, self._data, self.recipe),
                seed=self._seed,
                allows=self._allows,
                checkpoint=self._file,
                every=every,
                progress=progress,
            )

        if self._file is None:
            return train()
        with waiting_lock(self._file.with_suffix(".lock")):
            self._discard_damaged()
            return train()
