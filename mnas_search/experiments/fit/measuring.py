"""Seconds of real training steps, measured before a plan is made.

Candidates are measured by their own proxy training, one epoch on few and on more images, of the
smallest and of the largest of some networks within the target; the slower counts. The last
training is measured by a few steps of the network that spends the whole target.
"""

import io
import time
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from mnas_search.architecture.adaptation import LITE
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.machine import one_thread
from mnas_search.data import Split
from mnas_search.experiments.fit.config import WINNER, FitConfig
from mnas_search.experiments.fit.plan import StepTimes
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.training.epochs import FullTraining, score
from mnas_search.experiments.training.settings import Setup as TrainingSetup
from mnas_search.experiments.training.settings import TrainingConfig
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob, measure
from mnas_search.nas.trial import Evaluation
from mnas_search.networks import build
from mnas_search.training import loop
from mnas_search.training.recipe import ProxyRecipe

_DRAWS = 16  # networks of the space, of which the smallest and the largest are measured
_FEW, _MORE = 2, 6  # batches of a proxy
_STEPS = 2  # of the last training
_CHECKPOINTS = 2  # after an epoch, at most
_UNBOUND = 1e18  # FLOPs
_MIN_PART = 16  # images of a batch that a worker of the last training gets, for batch norm


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a fit may do at one resolution.

    Attributes:
        setup: of its run.
        baselines: within the target; the first one is what a user would take without a search.
        networks: to measure: the smallest and the largest of some networks of the space within
            the target, and the pretrained network, if any.
    """

    setup: Setup
    baselines: tuple[Architecture, ...]
    networks: tuple[Architecture, ...]

    @property
    def resolution(self) -> int:
        """At which networks are deployed."""
        side = self.setup.config.resolution
        assert side is not None  # Setup leaves nothing open
        return side

    @property
    def proxies(self) -> ProxyRecipe:
        """How candidates are trained."""
        recipe = getattr(self.setup.evaluator, "recipe", None)
        assert isinstance(recipe, ProxyRecipe)
        return recipe


def make_prospect(setup: Setup) -> Prospect:
    """Return what a fit may do with a run's space, data and target.

    Raises:
        UsageError: the space has networks that are no chain of stages.
    """
    controller, costs = setup.random_controller(), setup.cost_model.costs
    drawn = [
        setup.space.decode(controller.ask(np.random.default_rng(seed))) for seed in range(_DRAWS)
    ]
    networks = [network for network in drawn if isinstance(network, Architecture)]
    if len(networks) < len(drawn):
        raise UsageError(f"fit requires a space of networks of stages, got {setup.config.space!r}")
    networks.sort(key=lambda network: setup.objective.target_cost(costs(network)))
    baselines = [one.network for one in setup.baselines()] or networks[-1:]
    pretrained = [] if setup.pretrained is None else baselines[:1]
    return Prospect(
        setup=setup,
        baselines=tuple(baselines),
        networks=(networks[0], networks[-1], *pretrained),
    )


def narrow(prospect: Prospect, name: str) -> Prospect:
    """Return the prospect with the baseline of this name alone.

    Raises:
        UsageError: no baseline within the target has it.
    """
    names = [one.label.split()[0].removesuffix(LITE) for one in prospect.baselines]
    if name not in names:
        raise UsageError(
            f"network must be {WINNER} or a baseline within the target ({', '.join(names)}), got "
            f"{name!r}"
        )
    return replace(prospect, baselines=(prospect.baselines[names.index(name)],))


def training_config(
    config: FitConfig, network: Architecture, epochs: int | None = None
) -> TrainingConfig:
    """Return the configuration of a fit's last training; without `epochs`, the recipe's."""
    return TrainingConfig(
        architecture=network,
        data=config.data,
        epochs=epochs,
        resolution=network.resolution,
        seed=config.seed,
        init=config.init,
        remap=config.init is not None,
        gpus_per_worker=0.0 if config.gpus_per_trial == 0 else None,
        ray_address=config.ray_address,
    )


def shared_workers(batch: int, workers: int) -> int:
    """Return how many workers share each batch of the last training: one on a GPU, else the
    largest power of two with at least 16 images for each."""
    shared = 1
    if not torch.cuda.is_available():
        while 2 * shared <= workers and batch % (2 * shared) == 0:
            if batch // (2 * shared) < _MIN_PART:
                break
            shared *= 2
    return shared


def measure_steps(prospect: Prospect, training: TrainingSetup, workers: int) -> StepTimes:
    """Measure seconds at the prospect's resolution.

    Args:
        training: the last training, of a network that spends the target.
        workers: that will share its batches.

    Raises:
        WorkFailed: a network could not be trained.
    """
    with one_thread():
        proxy = _proxy(prospect, training.job.data.train)
        epoch, test = _training(training.job, workers, training.device)
    return StepTimes(proxy=proxy, epoch=epoch, test=test)


def _proxy(prospect: Prospect, images: Split) -> float:
    """Return the seconds of the slowest network's whole proxy training, from those of one epoch on
    few images and on more."""
    recipe = prospect.proxies
    shares = shares_to_measure(images, recipe.training.batch_size)
    little, much = (_evaluator(prospect, share) for share in shares)
    few, more = (images.share(share) for share in shares)
    used = recipe.training.epochs * images.share(recipe.fraction)
    _seconds(much, prospect.networks[0])  # resizes the images
    found = []
    for network in prospect.networks:
        _seconds(little, network)  # warms up
        short, long = _seconds(little, network), _seconds(much, network)
        # Seconds of the whole split, once; validation is in the rest.
        each = max(0.0, long - short) / (more - few) if more > few else short / few
        rest = max(0.0, short - few * each)
        found.append(used * each + rest)
    return max(found)


def shares_to_measure(images: Split, batch: int) -> tuple[float, float]:
    """Return two shares of a split, of a few batches and of several more; of each class there is
    one image at least, so that with many classes these are larger shares."""
    count = len(images.labels)
    few, more = (min(1.0, batches * batch / count) for batches in (_FEW, _MORE))
    if few == more:
        few /= 2
    apart = min((_MORE - _FEW) * batch / count, more - few)
    while more < 1 and images.share(more) - images.share(few) < apart:
        more = min(1.0, 2 * more)
    return few, more


def _evaluator(prospect: Prospect, share: float) -> Evaluator:
    """Return the evaluator that trains for an epoch on a share of the images."""
    changed = replace(
        prospect.setup.config,
        proxy=f"epochs=1,fraction={share}",
        # A target that binds nothing: only the training matters.
        target_flops=_UNBOUND,
        target_latency=None,
        device=None,
        latency_table=None,
    )
    return Setup(changed).evaluator


def _seconds(evaluator: Evaluator, network: Architecture) -> float:
    outcome, seconds = measure(evaluator, EvaluationJob(number=0, network=network, seed=0))
    if not isinstance(outcome, Evaluation):
        raise WorkFailed(f"a candidate cannot be trained: {outcome.reason}")
    return seconds


def _training(job: FullTraining, workers: int, device: str) -> tuple[float, float]:
    """Return seconds of an epoch by one of the workers, with its checkpoints, and of the test by
    one process."""
    data, batch = job.data, job.recipe.batch_size
    part = batch // workers
    with torch.random.fork_rng():
        network = build(job.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        recipe = replace(job.recipe, batch_size=part)
        for steps in (1, _STEPS):  # the first one warms up
            images = job.images(_first(data.train, steps * part), device)
            training = loop.Training(network, images, recipe, seed=0)
            begun = time.perf_counter()
            training.train_epoch()
            step = (time.perf_counter() - begun) / steps
        images = job.images(_first(data.validation, part), device)
        begun = time.perf_counter()
        score(training.evaluated, images)
        scored = (time.perf_counter() - begun) / len(images)
        begun = time.perf_counter()
        for _ in range(_CHECKPOINTS):
            torch.save(training.state(), io.BytesIO())
        saved = time.perf_counter() - begun
    steps = max(1, len(data.train.labels) // batch)
    epoch = steps * step + len(data.validation.labels) * scored / workers + saved
    return epoch, len(data.test.labels) * scored


def _first(split: Split, count: int) -> Split:
    return Split(images=split.images[:count], labels=split.labels[:count])
