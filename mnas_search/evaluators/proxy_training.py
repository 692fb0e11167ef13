"""The evaluator `proxy_training`: trains a small proxy and measures it on held-out images."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, final

import torch
from torch import nn

from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, single_line
from mnas_search.common.machine import one_thread
from mnas_search.data import Split, load
from mnas_search.data.loading import own_resolution
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.trial import Evaluation
from mnas_search.networks import build
from mnas_search.networks.weights.pretrained import Pretrained
from mnas_search.training import devices, loop
from mnas_search.training.proxy import (
    SMALLEST_ADAPTED,
    check_distinct,
    map_sizes,
    proxy_architecture,
)
from mnas_search.training.recipe import MAX_PROXY_SIDE, ProxyRecipe, Recipe, proxy_recipe
from mnas_search.training.recipes import finetuning_proxy

_OLDER_SIDE = 32  # pixels: the largest side of proxies that follow no deployment


@final
class ProxyTraining(Evaluator):
    """Trains a proxy of the candidate on a training split; its accuracy on a validation split.

    The test split of the data is not even handed to the workers.

    Args:
        data: what `mnas_search.data.load` takes: the name of a data set (`mnas-search
            list datasets`), the path of a folder of images, `hf:NAME`, or `file.py:Name`: a
            `Dataset` or a function that gives one. None: scikit-learn's digits.
        proxy: what to change in the recipe for images of the data's size, as in
            `epochs=10,resolution=16`; see `ProxyRecipe`.
        init: a pretrained network whose remapped weights every candidate starts from. A proxy is
            then a short fine-tuning of the whole candidate, with its width and strides: at another
            width, the weights would compute another function.
        deployment: resolution of the candidates. Up to 64 pixels it is the proxies' own, and they
            differ from the candidates by width and length alone; above, the proxies' is at most
            64 pixels. None for at most 32, as in runs of older versions.
        enlargement: largest ratio of a network's resolution to the base's
            (`at_base_resolution`). Images that have as many pixels are read large enough for it.
    """

    def __init__(
        self,
        *,
        data: str | None = None,
        proxy: str | None = None,
        init: Pretrained | None = None,
        deployment: int | None = None,
        enlargement: float = 1.0,
    ) -> None:
        side = _largest_side(data, deployment)
        # Images of no fixed size are read at the side that the recipe wants, asked for or not.
        wanted = _recipe(side, 1, init).override(proxy).resolution
        dataset = load(data, side=_side_to_read(data, wanted, enlargement))
        self.num_classes = dataset.num_classes
        self.validation_images = len(dataset.validation.labels)
        count, found = dataset.train.images.shape[:2]
        # Images of a fixed size may be smaller than the deployment, to which they are enlarged.
        recipe = _recipe(min(side, found), count, init)
        if init is None and side == deployment:
            recipe = replace(recipe, resolution=side)
        self.recipe = recipe.override(proxy)
        self._init, self._as_deployed = init, deployment is not None
        self.data_sha256 = dataset.sha256
        self._name, self._flips, self._notes = dataset.name, dataset.flips, dataset.notes
        side = self.recipe.resolution
        whole = self.recipe.fraction == 1
        train = dataset.train if whole else dataset.train.part(self.recipe.fraction)
        self._train, self._validation = train, dataset.validation
        if init is None:  # resized here, once; the workers get no more than they need
            self._train = loop.resize(train, side)
            self._validation = loop.resize(dataset.validation, side)
        # What is not resized, and the test split, stay in this process.
        self._original: tuple[Split, Split] | None = (train, dataset.validation)
        self._held_out: Split | None = dataset.test
        self._test: Split | None = None
        self._base: int | None = None  # resolution of networks that get the recipe's pixels
        # By the split's id and resolution; stays in its process.
        self._prepared: dict[tuple[int, int], loop.Images] = {}
        self._normalisation = loop.normalisation(dataset.train)
        self._rungs: tuple[int, ...] = ()  # epochs

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_original": None, "_held_out": None, "_prepared": {}}

    def _copied(self) -> "ProxyTraining":
        other = copy.copy(self)  # as it goes to workers
        other._original, other._held_out = self._original, self._held_out
        return other

    def with_test_split(self) -> "ProxyTraining":
        """Return the same evaluator, measuring on the test split too."""
        other = self._copied()
        other._test = self._held_out
        return other

    def at_base_resolution(self, resolution: int) -> "ProxyTraining":
        """Return the same evaluator, with proxy images scaled by the ratio of a network's
        resolution to this one; images are resized from the data's own."""
        assert self._original is not None
        other = self._copied()
        other._base = resolution
        other._train, other._validation = self._original
        other._prepared = {}
        return other

    @property
    def resources(self) -> Resources:
        """One CPU, and a share of the GPUs where there are any."""
        return Resources(cpus=1, gpus=None)

    def caveats(self, network: Network) -> tuple[str, ...]:
        """Return what the proxy was, with its map sizes, and what is odd about the data."""
        sizes = " ".join(map(str, map_sizes(self.proxy(network))))
        recipe = self.recipe
        proxy = (
            f"accuracies are those of proxies on {self._name}: {recipe.width:g} of the width, "
            f"{recipe.resolution} pixels (maps {sizes}), {recipe.training.epochs} epochs of "
            f"{len(self._train.labels):,} images"
        )
        if self._init is not None:
            proxy += f", from the remapped weights {self._init.source}"
        if self._name == "digits":
            proxy += "; digits are a demonstration and say nothing about ImageNet"
        return (proxy, *(single_line(f"data {self._name}: {note}") for note in self._notes))

    def check_space(self, space: SearchSpace) -> None:
        """Raise `UsageError` for a space two of whose options become one proxy."""
        check_distinct(space, width=self.recipe.width, divisor=self.recipe.divisor)

    def proxy(self, network: Network) -> Architecture:
        """Return the small network that is trained for a candidate."""
        if not isinstance(network, Architecture):
            raise UsageError(
                "proxy_training requires an architecture of stages, got the traced network "
                f"{network.label!r} (give another evaluator with --evaluator)"
            )
        recipe, keeps_strides = self.recipe, self._init is not None
        resolution = recipe.resolution
        ratio = 1.0 if self._base is None else network.resolution / self._base
        if keeps_strides:
            resolution = min(resolution, network.resolution)
        elif self._as_deployed and resolution >= SMALLEST_ADAPTED:
            network, keeps_strides = adapt(network, resolution), True
        return proxy_architecture(
            network,
            width=recipe.width,
            resolution=resolution,
            num_classes=self.num_classes,
            divisor=recipe.divisor,
            ratio=ratio,
            keeps_strides=keeps_strides,
        )

    def with_intermediate_reports(self, factor: int) -> "ProxyTraining | None":
        """Return the same evaluator with rungs after 1/factor, 1/factor^2, ... of the epochs,
        rounded down."""
        rungs, epochs = [], self.recipe.training.epochs // factor
        while epochs:
            rungs.append(epochs)
            epochs //= factor
        if not rungs:
            return None
        one = self._copied()
        one._rungs = tuple(rungs)
        return one

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Yield one evaluation per rung and one after the whole training, determined by the seed.

        Where memory runs out, it is tried once more from the start with half the batch and half
        the learning rate; `info["batch_size"]` says so.

        Raises:
            MemoryError: half the batch does not fit either.
        """
        proxy, recipe = self.proxy(network), self.recipe.training
        for batch in (recipe.batch_size, recipe.batch_size // 2):
            share = batch / recipe.batch_size
            if not batch:
                break
            halved = replace(recipe, batch_size=batch, learning_rate=share * recipe.learning_rate)
            try:
                for evaluation in self._trained(proxy, halved, seed):
                    info = dict(evaluation.info or {})
                    if share < 1:
                        info["batch_size"] = float(batch)
                    yield replace(evaluation, info=info or None)
                return
            except (MemoryError, RuntimeError) as error:
                if not devices.out_of_memory(error):
                    raise
            finally:
                devices.empty_cache()
        raise MemoryError(f"a batch of {max(1, recipe.batch_size // 2)} images")

    def _trained(self, proxy: Architecture, recipe: Recipe, seed: int) -> Iterator[Evaluation]:
        with one_thread(), torch.random.fork_rng():
            torch.manual_seed(seed)
            # Channels last is 2 to 4 times as fast on CPUs; weights follow the images.
            module: nn.Module = build(proxy)
            if self._init is not None:
                started = self._init.start(proxy, seed=seed)
                module.load_state_dict(module.state_dict() | started)
            module = module.to(devices.device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
            train = self._images(self._train, proxy)
            training = loop.Training(module, train, recipe, seed=seed)
            devices.optimize_for_device(module, train, recipe)
            while not training.finished:
                training.train_epoch()
                if training.epoch in self._rungs:
                    accuracy = loop.accuracy(
                        training.evaluated, self._images(self._validation, proxy)
                    )
                    yield Evaluation(accuracy=accuracy, rung=training.epoch)
            accuracy = loop.accuracy(training.evaluated, self._images(self._validation, proxy))
            if self._test is None:
                info, correct = None, None
            else:
                images = self._images(self._test, proxy)
                correct = tuple(loop.correct(training.evaluated, images).tolist())
                info = {"test": sum(correct) / len(correct)}
        yield Evaluation(accuracy=accuracy, info=info, correct=correct)

    def _images(self, split: Split, proxy: Architecture) -> loop.Images:
        """Return images prepared for the device and the proxy's resolution, once per process."""
        key = (id(split), proxy.resolution)
        if key not in self._prepared:
            self._prepared[key] = loop.Images(
                split,
                resolution=proxy.resolution,
                normalisation=self._normalisation,
                flips=self._flips,
                device=devices.device(),
            )
        return self._prepared[key]


def _largest_side(data: str | None, deployment: int | None) -> int:
    """Return the largest side of the proxies' images: the deployment's up to 64 pixels; above, at
    most that of the data."""
    if deployment is None:
        return _OLDER_SIDE
    if deployment <= MAX_PROXY_SIDE:
        return deployment
    return min(MAX_PROXY_SIDE, own_resolution(data) or MAX_PROXY_SIDE)


def _side_to_read(data: str | None, wanted: int, enlargement: float) -> int:
    """Return the side at which images of no fixed size are read, no larger than they are: a
    network of a larger resolution has to see more of them."""
    if enlargement <= 1:
        return wanted
    larger = math.ceil(enlargement * wanted)
    return max(wanted, min(larger, own_resolution(data) or larger))


def _recipe(side: int, count: int, init: Pretrained | None) -> ProxyRecipe:
    return proxy_recipe(side, count) if init is None else finetuning_proxy(count)
