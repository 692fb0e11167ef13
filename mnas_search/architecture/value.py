"""A network as a frozen value: a chain of stages between a stem and a head.

An `Architecture` that exists is valid: construction raises `InvalidArchitecture`. It holds
choices, not sizes; `architecture/blocks` resolves every integer.
"""

import hashlib
import json
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from mnas_search.architecture.stage import (
    ACTIVATIONS,
    MAX_CHANNELS,
    Stage,
    Stem,
    check_choice,
    check_integer,
    check_number,
)
from mnas_search.common.checks import shown
from mnas_search.common.checksums import checked
from mnas_search.common.errors import InvalidArchitecture

PADDINGS = ("symmetric", "same")
FORMAT = "mnas-search architecture"
VERSION = 1

MAX_BLOCKS = 5_000  # of all stages together
MAX_NAME = 1_000  # characters
MAX_RESOLUTION = 16_384
MAX_CLASSES = 10_000_000
_RATES = {
    "bn_eps": "(0, 1]",
    "bn_momentum": "(0, 1]",
    "dropout_rate": "[0, 1)",
    "stochastic_depth_rate": "[0, 1)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network: stem, stages, head, and the settings that its layers share.

        Architecture.from_block_string("ds_r1_k3_s1_c16 ir_r2_k3_s2_e6_c24", resolution=96)

    Attributes:
        stages: at least one stage.
        stem: the first convolution.
        head_channels: width of the 1x1 convolution before pooling; None to leave it out.
        activation: activation of stem and head.
        resolution: side of the square 3-channel input image, in pixels, at deployment.
        num_classes: width of the classifier.
        bn_eps, bn_momentum: batch norm; momentum in PyTorch's sense, the weight of the new batch.
            The defaults are TensorFlow EfficientNet's 1e-3 and 1 - 0.99.
        padding: `symmetric` ((k - 1) // 2 on each side) or `same` (TensorFlow's).
        dropout_rate: before the classifier.
        stochastic_depth_rate: of the last block; it grows linearly with depth up to there.
        name: a label, which is not part of the network's identity.
    """

    stages: tuple[Stage, ...]
    stem: Stem = field(default_factory=Stem)
    head_channels: int | None = 1280
    activation: str = "silu"
    resolution: int = 224
    num_classes: int = 1000
    bn_eps: float = 1e-3
    bn_momentum: float = 0.01
    padding: str = "symmetric"
    dropout_rate: float = 0.2
    stochastic_depth_rate: float = 0.2
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple) or not self.stages:
            raise InvalidArchitecture(f"stages must be a tuple of Stage, got {self.stages!r}")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise InvalidArchitecture(f"stages must hold Stage values, got {stage!r}")
        blocks = sum(stage.repeats for stage in self.stages)
        check_integer("blocks of all stages", blocks, 1, MAX_BLOCKS)
        if not isinstance(self.stem, Stem):
            raise InvalidArchitecture(f"stem must be a Stem, got {self.stem!r}")
        if self.head_channels is not None:
            check_integer("head_channels", self.head_channels, 1, MAX_CHANNELS)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_integer("resolution", self.resolution, 1, MAX_RESOLUTION)
        check_integer("num_classes", self.num_classes, 1, MAX_CLASSES)
        check_choice("padding", self.padding, PADDINGS)
        for name, interval in _RATES.items():
            check_number(name, getattr(self, name), interval)
            object.__setattr__(self, name, float(getattr(self, name)) + 0.0)  # no -0.0
        if self.name is not None and not (_is_text(self.name) and len(self.name) <= MAX_NAME):
            raise InvalidArchitecture(
                f"name must be null or text of {MAX_NAME:,} characters, got {shown(self.name)}"
            )

    # -- identity -----------------------------------------------------------------------------

    def normalise(self) -> "Architecture":
        """Return the same network with every skip that cannot act replaced by `none`."""
        stages, in_channels = [], self.stem.channels
        for stage in self.stages:
            if stage.skip != "none" and not stage.skip_acts(in_channels):
                stage = replace(stage, skip="none")
            stages.append(stage)
            in_channels = stage.out_channels
        return replace(self, stages=tuple(stages))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal for two spellings of one network.

        The hash is taken over the normalised JSON without the name and without the rates of
        dropout and stochastic depth, which act in training only.
        """
        value = self.normalise().to_dict()
        for key in ("name", "dropout_rate", "stochastic_depth_rate"):
            del value[key]
        return hashlib.sha256(_canonical(value).encode()).hexdigest()[:16]

    # -- forms --------------------------------------------------------------------------------

    @property
    def block_string(self) -> str:
        """The stages in timm's grammar, one word per stage."""
        from mnas_search.architecture.block_string import format_stages

        return format_stages(self.stages)

    @property
    def label(self) -> str:
        """The name, or the block string of a network without a name."""
        return self.name if self.name is not None else self.block_string

    def to_dict(self) -> dict[str, Any]:
        """Return the complete form as plain JSON values."""
        parts = {"stem": _plain(self.stem), "stages": tuple(map(_plain, self.stages))}
        return {"format": FORMAT, "version": VERSION, **_plain(self), **parts}

    def to_json(self) -> str:
        """Return canonical JSON (sorted keys, no spaces), which reads back as an equal value."""
        return _canonical(self.to_dict())

    @staticmethod
    def from_dict(value: object) -> "Architecture":
        """Read the output of `to_dict`; raises `InvalidArchitecture` for anything else."""
        try:
            value = checked(value)
        except (TypeError, ValueError) as error:
            raise InvalidArchitecture(f"the architecture {error}") from None
        given = _members(value, "an architecture")
        format_name, version = given.pop("format", None), given.pop("version", None)
        if format_name != FORMAT:
            raise InvalidArchitecture(f"format must be {FORMAT!r}, got {shown(format_name)}")
        if type(version) is not int or version != VERSION:
            raise InvalidArchitecture(
                f"architecture version must be {VERSION}, got {shown(version)}"
            )
        stages = given.get("stages")
        if not isinstance(stages, (list, tuple)):
            raise InvalidArchitecture(f"stages must be a list of stages, got {shown(stages)}")
        given["stages"] = tuple(_build(Stage, stage, "a stage") for stage in stages)
        if "stem" in given:
            given["stem"] = _build(Stem, given["stem"], "the stem")
        architecture: Architecture = _build(Architecture, given, "an architecture")
        return architecture

    @staticmethod
    def from_json(text: str) -> "Architecture":
        """Read the output of `to_json`; raises `InvalidArchitecture` for anything else."""
        try:
            value = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InvalidArchitecture(f"not valid JSON: {error}") from None
        return Architecture.from_dict(value)

    @staticmethod
    def from_block_string(text: str, **shared: Any) -> "Architecture":
        """Read stages in timm's grammar; `shared` are the other fields of `Architecture`."""
        from mnas_search.architecture.block_string import parse_stages

        return Architecture(stages=parse_stages(text), **shared)


def _plain(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as they are; `asdict` copies them, which takes longer than
    everything else when a long journal is read."""
    return {name: getattr(value, name) for name in value.__slots__}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of a field that is given twice, neither value can be preferred."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise InvalidArchitecture(f"field {shown(twice)} is given twice")
    return value


def _members(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArchitecture(f"{what} must be a JSON object, got {shown(value)}")
    return dict(value)


def _build(cls: Any, value: object, what: str) -> Any:
    given = _members(value, what)
    required = {f.name: f.default is f.default_factory is MISSING for f in fields(cls)}
    for name in given:
        if name not in required:
            known = ", ".join(sorted(required))
            raise InvalidArchitecture(f"{what} has no field {shown(name)}; its fields are {known}")
    if missing := [name for name, needed in required.items() if needed and name not in given]:
        raise InvalidArchitecture(f"{what} lacks {', '.join(missing)}")
    return cls(**given)


def _is_text(value: object) -> bool:
    """Tell whether a value is text that can be encoded (without lone surrogates)."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
