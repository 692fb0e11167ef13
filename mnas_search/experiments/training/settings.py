"""The options of a full training, and the same resolved and checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, final

import torch

from mnas_search.architecture.adaptation import adapt, halvings
from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import check_choice, check_integer, check_number
from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.data import Split, load
from mnas_search.data.loading import DEFAULT, absolute
from mnas_search.data.preprocessing import BICUBIC, BILINEAR, IMAGENET, Preprocessing
from mnas_search.experiments.training.epochs import FullTraining
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import remap, sources
from mnas_search.networks.weights.reading import read_file
from mnas_search.networks.weights.settings import WeightSettings, find_settings
from mnas_search.training import loop
from mnas_search.training.recipe import Recipe
from mnas_search.training.recipes import recipe_named

_MAX_EPOCHS = 10**9


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The options of a training; None leaves a choice to the training.

    Attributes:
        architecture: its number of classes is replaced by the data's.
        data: as `mnas_search.data.load` reads it; by default digits.
        recipe: by default `finetune` with `init`, else `scratch`.
        epochs, batch_size, learning_rate: override the recipe's; the learning rate is the peak at
            this batch size.
        resolution: by default the architecture's.
        adapted: whether strides are dropped where the resolution is too small for them
            (`mnas_search.architecture.adaptation`).
        init: weights to start from (`mnas_search.networks.weights.sources`).
        weights_of: the library whose settings they were trained with
            (`mnas_search.networks.weights.settings`).
        remap: whether to adapt another network's weights (`mnas_search.networks.weights.remap`).
        normalisation: `data` for the training split's own, or `imagenet`.
        workers: processes that share every batch, over Ray if there are several.
        gpus_per_worker: 0 for the CPU; by default 1 where there are any.
        ray_address: a Ray cluster to join.
    """

    architecture: Architecture
    data: str | None = None
    recipe: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    resolution: int | None = None
    adapted: bool = False
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

    `settings` are those of the weights to start from. A training takes them from the weights as it
    begins (`settings_to_start_from`), and later from its config.json: the file may be gone.

    Attributes:
        config: with nothing left open but what a resume may change.
        job: the training, without weights to start from.
        adaptation: a sentence on resolution and strides; None where they are the architecture's.
        notes: sentences on what the settings changed in the architecture.
        gpus: that each worker takes.
        device: of a training in this process.
    """

    def __init__(self, config: TrainingConfig, settings: WeightSettings | None = None) -> None:
        _check(config)
        name = config.recipe or ("scratch" if config.init is None else "finetune")
        resolution = config.resolution
        if resolution is None:
            resolution = config.architecture.resolution
        data = load(config.data, side=resolution)
        recipe = _recipe(name, config, len(data.train.labels))
        plain = replace(config.architecture, resolution=resolution, num_classes=data.num_classes)
        fitting = adapt(plain, resolution) if config.adapted else plain
        self.adaptation = _describe(plain, fitting) if config.adapted else None
        plain = fitting
        architecture = plain if settings is None else settings.apply_to(plain)
        self._settings = settings
        self.notes = (settings.text,) if settings is not None and architecture != plain else ()
        check_room(architecture, copies=2, batch_size=1)  # weights and gradients, at least
        self.config = replace(
            config,
            architecture=architecture,
            data=absolute(config.data or DEFAULT),
            init=None if config.init is None else sources.absolute(config.init),
            recipe=name,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            resolution=resolution,
        )
        imagenet = config.normalisation == "imagenet"
        self.job = FullTraining(
            architecture=architecture,
            data=data,
            recipe=recipe,
            preprocessing=_preprocessing(data.train, resolution, imagenet=imagenet),
            seed=config.seed,
        )
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
        """Whether Ray workers train, rather than this process."""
        return self.config.workers > 1 or self.config.ray_address is not None

    @cached_property
    def fitted(self) -> weights.FittedWeights | remap.Remapped | None:
        """The weights to start from."""
        if self.config.init is None:
            return None
        given = sources.read(self.config.init)
        if self.config.remap:
            return remap.remap(given, self.job.architecture, seed=self.config.seed)
        try:
            return weights.fit(given, self.job.architecture)
        except UsageError as error:
            raise UsageError(f"{error}; others with --remap") from None

    def recorded(self) -> dict[str, Any]:
        """Return the configuration as config.json holds it."""
        recipe = repr(replace(self.job.recipe, epochs=1))
        return {
            **{name: getattr(self.config, name) for name in _NAMES},
            "weight_settings": None if self._settings is None else asdict(self._settings),
            "data_name": self.job.data.name,
            "data_sha256": self.job.data.sha256,
            "recipe_sha256": sha256(recipe.encode()).hexdigest(),
            "settings": recipe,
            "architecture": json.loads(self.job.architecture.to_json()),
        }

    def _check_batch(self) -> None:
        batch, workers = self.job.recipe.batch_size, self.config.workers
        if batch % workers or batch < 2 * workers:
            whole = batch == len(self.job.data.train.labels)
            raise UsageError(
                "batch size must give each worker as many images, and at least 2 for batch norm, "
                f"got {batch}{' (the whole training split)' * whole} for {workers} "
                f"worker{'s' * (workers > 1)}"
            )


# Of trainings that are older than these options.
_OLDER = {"remap": False, "weights_of": None, "weight_settings": None, "adapted": False}
_NAMES = [field.name for field in fields(TrainingConfig) if field.name != "architecture"]


def settings_to_start_from(config: TrainingConfig) -> WeightSettings | None:
    """Return the settings that the weights to start from were trained with, by their file."""
    if config.init is None:
        return None
    file = sources.weights_file(config.init)
    return find_settings(file, read_file(file), config.weights_of)


def from_recorded(
    folder: Path, recorded: Mapping[str, Any]
) -> tuple[TrainingConfig, WeightSettings | None]:
    """Return the configuration of a training's folder, and the settings of its first weights."""
    try:
        recorded = _OLDER | dict(recorded)
        config = TrainingConfig(
            architecture=Architecture.from_dict(recorded["architecture"]),
            **{name: recorded[name] for name in _NAMES},
        )
        settings = recorded["weight_settings"]
        return config, None if settings is None else WeightSettings(**settings)
    except (LookupError, TypeError, ValueError, UsageError) as error:
        raise RunFolderError(
            f"{str(folder / 'config.json')!r} is no training's configuration: {error}"
        ) from error


def _describe(plain: Architecture, fitting: Architecture) -> str:
    whole, kept = halvings(plain), halvings(fitting)
    strides = f"{whole - kept} of {whole} strides are dropped" if kept < whole else "all strides"
    return f"trained at {plain.resolution} pixels: {strides}"


def _check(config: TrainingConfig) -> None:
    for name in ("data", "recipe", "init", "ray_address"):
        value = getattr(config, name)
        if value is not None and not isinstance(value, str | Path):
            raise UsageError(f"{name} must be text, got {value!r}")
    check_choice("normalisation", config.normalisation, ("data", "imagenet"))
    if config.resolution is not None:
        check_integer("resolution", config.resolution, 1)
    if config.remap and config.init is None:
        raise UsageError("--remap requires --init, the weights to remap")
    if config.weights_of is not None and config.init is None:
        raise UsageError(f"--weights-of {config.weights_of} requires --init")
    check_integer("workers", config.workers, 1)
    check_integer("seed", config.seed, 0, 2**63 - 1)
    if config.gpus_per_worker is not None:
        check_number("GPUs a worker", config.gpus_per_worker, "[0, inf)")


def _preprocessing(train: Split, resolution: int, *, imagenet: bool) -> Preprocessing:
    found = IMAGENET if imagenet else loop.normalisation(train)
    # `load` resizes files by bicubic interpolation, `loop.resize` what has another size.
    resized = train.images.shape[1:3] != (resolution, resolution)
    return Preprocessing(
        mean=found.mean,
        std=found.std,
        size=resolution,
        interpolation=BILINEAR if resized else BICUBIC,
    )


def _recipe(name: str, config: TrainingConfig, images: int) -> Recipe:
    """Return the recipe as it is carried out: no batch is larger than the data, and the learning
    rate is the peak at this batch size."""
    recipe = recipe_named(name).override(
        epochs=config.epochs, batch_size=config.batch_size, learning_rate=config.learning_rate
    )
    batch = min(recipe.batch_size, images)
    rate = recipe.peak(batch)
    check_integer("epochs", recipe.epochs, 1, _MAX_EPOCHS)
    check_number("learning_rate", rate, "(0, 1e30]")  # what arithmetic can work with
    return replace(recipe, batch_size=batch, learning_rate=rate, reference_batch=None)
