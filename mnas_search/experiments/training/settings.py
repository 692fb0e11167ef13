"""The options of a full training, and the same resolved and checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, final

import torch

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.data import Dataset, load
from mnas_search.data.loading import DEFAULT, absolute
from mnas_search.experiments.training.epochs import FullTraining
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import remap
from mnas_search.networks.weights.settings import WeightSettings, find_settings
from mnas_search.training import loop
from mnas_search.training.recipe import Recipe
from mnas_search.training.recipes import recipe_named

# What most published weights were trained with (torchvision, timm); in the order R, G, B.
IMAGENET = loop.Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_NORMALISATIONS = ("data", "imagenet")
_TEXT, _WHOLE = ((str, Path), "text"), ((int,), "a whole number")
_TYPES = {
    **dict.fromkeys(("data", "recipe", "init", "normalisation", "ray_address"), _TEXT),
    **dict.fromkeys(("epochs", "batch_size", "resolution", "seed", "workers"), _WHOLE),
    **dict.fromkeys(("learning_rate", "gpus_per_worker"), ((int, float), "a number")),
}
_NEEDED = ("normalisation", "seed", "workers")
_LARGEST = 1e30  # that arithmetic can still work with


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The options of a training.

    Attributes:
        architecture: its classes are replaced by the data's.
        data: name of a data set, or what else `load` reads; None for digits.
        recipe: by name; None for `finetune` with `init`, else `scratch`.
        epochs, batch_size, learning_rate: instead of the recipe's. The learning rate is the peak
            at this very batch.
        resolution: side of the images; None for the architecture's own.
        init: weights to start from (`mnas_search.networks.weights.loading`).
        weights_of: whose settings they were trained with, of `weight_settings.SOURCES`; None for
            what their file says, else the architecture's own.
        remap: whether they are another network's (`mnas_search.networks.weights.remap`).
        normalisation: `data` for the training split's own, or `imagenet`.
        seed: of the initialisation and of all that is drawn.
        workers: processes that share every batch, over Ray where there are several.
        gpus_per_worker: 0 for the CPU; None for one where there are any.
        ray_address: a Ray cluster to join.
    """

    architecture: Architecture
    data: str | None = None
    recipe: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    resolution: int | None = None
    init: str | None = None
    weights_of: str | None = None
    remap: bool = False
    normalisation: str = "data"
    seed: int = 0
    workers: int = 1
    gpus_per_worker: float | None = None
    ray_address: str | None = None


@final
class Setup:
    """A configuration with everything resolved; raises `UsageError` for what is refused.

    Args:
        config: what is asked for.
        settings: those of the weights to start from. A training takes them once, as it begins
            (`settings_to_start_from`), and again from its config.json: the file may be gone.

    Attributes:
        config: with nothing left open but what a resume may change.
        settings: of the weights to start from; None where nothing tells them.
        notes: sentences on what they changed in the architecture.
        architecture: that is trained.
        data, recipe, normalisation: of the training.
        device: of a training in this process.
        gpus: that each worker takes.
    """

    def __init__(self, config: TrainingConfig, settings: WeightSettings | None = None) -> None:
        _check(config)
        name = config.recipe or ("scratch" if config.init is None else "finetune")
        recipe = _recipe(name, config)
        resolution = config.resolution
        if resolution is None:
            resolution = config.architecture.resolution
        self.data: Dataset = load(config.data, side=resolution)
        # As it will be: no batch is larger than the data, and the peak is that of this batch.
        batch = min(recipe.batch_size, len(self.data.train.labels))
        self.recipe = replace(
            recipe, batch_size=batch, learning_rate=recipe.peak(batch), reference_batch=None
        )
        architecture = replace(
            config.architecture, resolution=resolution, num_classes=self.data.num_classes
        )
        self.settings = settings
        self.architecture = architecture if settings is None else settings.apply_to(architecture)
        changed = settings is not None and self.architecture != architecture
        self.notes = (settings.text,) if settings is not None and changed else ()
        check_room(self.architecture, copies=2, batch_size=1)  # weights and gradients, at least
        self.config = replace(
            config,
            architecture=self.architecture,
            data=absolute(config.data or DEFAULT),
            init=None if config.init is None else str(Path(config.init).resolve()),
            recipe=name,
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch_size,
            learning_rate=self.recipe.learning_rate,
            resolution=resolution,
        )
        imagenet = config.normalisation == "imagenet"
        self.normalisation = IMAGENET if imagenet else loop.normalisation(self.data.train)
        found = torch.cuda.device_count()
        self.gpus = min(found, 1) if config.gpus_per_worker is None else config.gpus_per_worker
        self.device = "cuda" if self.gpus else "cpu"
        if self.gpus > found and not self.on_ray:
            raise UsageError(
                f"GPUs a worker must be at most {found}, all there are, got {self.gpus:g}"
            )
        self._check_batch()

    @property
    def on_ray(self) -> bool:
        """Whether workers train, rather than this process."""
        return self.config.workers > 1 or self.config.ray_address is not None

    def fitted(self) -> weights.FittedWeights | remap.Remapped | None:
        """The weights to start from."""
        init = self.config.init
        if init is None:
            return None
        given = weights.read(Path(init))
        if self.config.remap:
            return remap.remap(given, self.architecture, seed=self.config.seed)
        try:
            return weights.fit(given, self.architecture)
        except UsageError as error:
            raise UsageError(f"{error}; others with --remap") from None

    def job(self, fitted: weights.FittedWeights | remap.Remapped | None) -> FullTraining:
        """Return what the workers are given."""
        return FullTraining(
            architecture=self.architecture,
            data=self.data,
            recipe=self.recipe,
            normalisation=self.normalisation,
            seed=self.config.seed,
            start=None if fitted is None else fitted.weights,
        )

    def recorded(self) -> dict[str, Any]:
        """Return the configuration as config.json holds it."""
        recipe = repr(replace(self.recipe, epochs=1))
        return {
            **{n: getattr(self.config, n) for n in _names() if n != "architecture"},
            "weight_settings": None if self.settings is None else asdict(self.settings),
            "data_name": self.data.name,
            "data_sha256": self.data.sha256,
            "recipe_sha256": sha256(recipe.encode()).hexdigest(),
            "settings": recipe,
            "architecture": json.loads(self.architecture.to_json()),
        }

    def _check_batch(self) -> None:
        batch, workers = self.recipe.batch_size, self.config.workers
        if batch % workers or batch < 2 * workers:
            whole = batch == len(self.data.train.labels)
            raise UsageError(
                "batch size must give each worker as many images, and at least 2 for batch norm, "
                f"got {batch}{' (the whole training split)' * whole} for {workers} "
                f"worker{'s' * (workers > 1)}"
            )


def settings_to_start_from(config: TrainingConfig) -> WeightSettings | None:
    """Return the settings that the weights to start from were trained with, by their file."""
    if config.init is None:
        return None
    source = Path(config.init)
    return find_settings(weights.weights_file(source), weights.read(source), config.weights_of)


def recorded_settings(folder: Path, recorded: Mapping[str, Any]) -> WeightSettings | None:
    """Return the weights' settings that a training's folder began with."""
    told = recorded.get("weight_settings")
    try:
        return None if told is None else WeightSettings(**told)
    except (TypeError, UsageError) as error:
        raise _no_configuration(folder, error) from error


def from_recorded(folder: Path, recorded: Mapping[str, Any]) -> TrainingConfig:
    """Return the configuration of a training's folder."""
    try:
        # Of trainings that are older than these options.
        earlier = {"remap": False, "weights_of": None} | dict(recorded)
        known = {name: earlier[name] for name in _names() if name != "architecture"}
        architecture = Architecture.from_dict(recorded["architecture"])
        return TrainingConfig(architecture=architecture, **known)
    except (LookupError, TypeError, ValueError) as error:
        raise _no_configuration(folder, error) from error


def _no_configuration(folder: Path, error: Exception) -> RunFolderError:
    return RunFolderError(
        f"{str(folder / 'config.json')!r} is no training's configuration: {error}"
    )


def _names() -> list[str]:
    return [f.name for f in fields(TrainingConfig)]


def _check(config: TrainingConfig) -> None:
    for name, (kinds, allowed) in _TYPES.items():
        value = getattr(config, name)
        if value is None and name not in _NEEDED:
            continue
        beyond = isinstance(value, int | float) and not abs(value) < _LARGEST
        if not isinstance(value, kinds) or isinstance(value, bool) or beyond:
            raise UsageError(f"{name} must be {allowed}, got {value!r}")
    if config.normalisation not in _NORMALISATIONS:
        allowed = " or ".join(_NORMALISATIONS)
        raise UsageError(f"normalisation must be {allowed}, got {config.normalisation!r}")
    if config.resolution is not None and config.resolution < 1:
        raise UsageError(f"resolution must be at least 1, got {config.resolution}")
    if config.remap and config.init is None:
        raise UsageError("--remap requires --init, the weights to remap")
    if config.weights_of is not None and config.init is None:
        raise UsageError(f"--weights-of {config.weights_of} requires --init")
    if config.workers < 1:
        raise UsageError(f"workers must be at least 1, got {config.workers}")
    if not 0 <= config.seed < 2**63:
        raise UsageError(f"seed must be from 0 to 2^63 - 1, got {config.seed}")
    if config.gpus_per_worker is not None and not config.gpus_per_worker >= 0:
        raise UsageError(f"GPUs a worker must be at least 0, got {config.gpus_per_worker}")


def _recipe(name: str, config: TrainingConfig) -> Recipe:
    recipe = recipe_named(name)
    if config.epochs is not None:
        recipe = replace(recipe, epochs=config.epochs)
    if config.batch_size is not None:
        recipe = replace(recipe, batch_size=config.batch_size)
    if config.learning_rate is not None:
        # As it is given, not in proportion to the batch.
        recipe = replace(recipe, learning_rate=config.learning_rate, reference_batch=None)
    return recipe
