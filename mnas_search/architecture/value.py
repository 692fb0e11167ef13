"""The frozen value that everything else is a function of: a network as a chain of stages.

An `Architecture` that exists is valid: construction raises `InvalidArchitecture` and nothing
returns half a network. It holds choices, not sizes; `architecture/blocks` resolves every integer.
"""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from mnas_search.architecture.stage import (
    ACTIVATIONS,
    MAX_CHANNELS,
    Stage,
    Stem,
    _integer,
    _number,
    _one_of,
    _short,
)
from mnas_search.common.errors import InvalidArchitecture

PADDINGS = ("symmetric", "same")
FORMAT = "mnas-search architecture"
VERSION = 1

MAX_BLOCKS = 5_000  # of all stages together
MAX_NAME = 1_000  # characters
MAX_RESOLUTION = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network: stem, stages, head, and what its layers share.

    Attributes:
        stages: at least one stage.
        stem: the first convolution.
        head_channels: width of the 1x1 convolution before pooling; None for no such layer.
        activation: activation of stem and head.
        resolution: side of the square 3-channel input image, in pixels, at deployment.
        num_classes: width of the classifier.
        bn_eps, bn_momentum: batch norm; momentum in PyTorch's sense, the weight of the new batch.
            The defaults are TensorFlow EfficientNet's 1e-3 and 1 - 0.99.
        padding: `symmetric` ((k - 1) // 2 on each side) or `same` (TensorFlow's).
        dropout_rate: before the classifier.
        stochastic_depth_rate: of the last block; earlier ones have it in proportion to depth.
        name: what to call it; no part of its identity.
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
            raise InvalidArchitecture(f"stages is {self.stages!r}; allowed: a tuple of >= 1 Stage")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise InvalidArchitecture(f"stages holds {stage!r}; allowed: Stage values")
        blocks = sum(stage.repeats for stage in self.stages)
        if blocks > MAX_BLOCKS:
            raise InvalidArchitecture(
                f"{len(self.stages):,} stages have {blocks:,} blocks; allowed: {MAX_BLOCKS:,}"
            )
        if not isinstance(self.stem, Stem):
            raise InvalidArchitecture(f"stem is {self.stem!r}; allowed: a Stem")
        if self.head_channels is not None:
            _integer("head_channels", self.head_channels, 1, MAX_CHANNELS)
        _one_of("activation", self.activation, ACTIVATIONS)
        _integer("resolution", self.resolution, 1, MAX_RESOLUTION)
        _integer("num_classes", self.num_classes, 1, 10_000_000)
        _number("bn_eps", self.bn_eps, 0, 1, low_open=True)
        _number("bn_momentum", self.bn_momentum, 0, 1, low_open=True)
        _one_of("padding", self.padding, PADDINGS)
        _number("dropout_rate", self.dropout_rate, 0, 1, high_open=True)
        _number("stochastic_depth_rate", self.stochastic_depth_rate, 0, 1, high_open=True)
        for name in ("bn_eps", "bn_momentum", "dropout_rate", "stochastic_depth_rate"):
            object.__setattr__(self, name, float(getattr(self, name)) + 0.0)  # no -0.0
        if self.name is not None and not (_is_text(self.name) and len(self.name) <= MAX_NAME):
            raise InvalidArchitecture(
                f"name is {_short(self.name)}; allowed: text of {MAX_NAME:,} characters, or null"
            )

    # -- identity -----------------------------------------------------------------------------

    def normalised(self) -> "Architecture":
        """The same network with every skip that cannot act written `none`."""
        stages, in_channels = [], self.stem.channels
        for stage in self.stages:
            if stage.skip != "none" and not stage.skip_acts(in_channels):
                stage = replace(stage, skip="none")
            stages.append(stage)
            in_channels = stage.out_channels
        return replace(self, stages=tuple(stages))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that two spellings of one network share.

        Taken over the normalised JSON without the name and the rates of dropout and stochastic
        depth, which act in training alone.
        """
        value = self.normalised().to_dict()
        for key in ("name", "dropout_rate", "stochastic_depth_rate"):
            del value[key]
        return hashlib.sha256(_canonical(value).encode()).hexdigest()[:16]

    # -- forms --------------------------------------------------------------------------------

    @property
    def block_string(self) -> str:
        """The stages in timm's grammar, one word a stage."""
        from mnas_search.architecture.block_string import format_stages

        return format_stages(self.stages)

    @property
    def label(self) -> str:
        """The name, or the block string of a network that has none."""
        return self.name if self.name is not None else self.block_string

    def to_dict(self) -> dict[str, Any]:
        """The complete form as plain JSON values."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def to_json(self) -> str:
        """The complete form as canonical JSON: sorted keys, no spaces, round-trips exactly."""
        return _canonical(self.to_dict())

    @staticmethod
    def from_dict(value: object) -> "Architecture":
        """Read what `to_dict` wrote; raises `InvalidArchitecture` on anything else."""
        given = _members(value, "an architecture")
        if given.pop("format", None) != FORMAT:
            raise InvalidArchitecture(f"no architecture: 'format' must be {FORMAT!r}")
        version = given.pop("version", None)
        if type(version) is not int or version != VERSION:
            raise InvalidArchitecture(
                f"architecture version {_short(version)}; allowed: {VERSION}"
            )
        stages = given.get("stages")
        if not isinstance(stages, (list, tuple)):
            raise InvalidArchitecture(f"stages is {_short(stages)}; allowed: a list of stages")
        given["stages"] = tuple(_build(Stage, stage, "a stage") for stage in stages)
        if "stem" in given:
            given["stem"] = _build(Stem, given["stem"], "the stem")
        architecture: Architecture = _build(Architecture, given, "an architecture")
        return architecture

    @staticmethod
    def from_json(text: str) -> "Architecture":
        """Read what `to_json` wrote; raises `InvalidArchitecture` on anything else."""
        try:
            value = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InvalidArchitecture(f"no JSON: {error}") from None
        return Architecture.from_dict(value)

    @staticmethod
    def from_block_string(text: str, **shared: Any) -> "Architecture":
        """Stages from timm's grammar; `shared` are the other fields of `Architecture`."""
        from mnas_search.architecture.block_string import parse_stages

        return Architecture(stages=parse_stages(text), **shared)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two values for one field, nobody can tell which is meant."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise InvalidArchitecture(f"field {_short(twice)} is there twice; allowed: once")
    return value


def _members(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArchitecture(f"{what} is {_short(value)}; allowed: a JSON object")
    return dict(value)


def _build(cls: Any, value: object, what: str) -> Any:
    given = _members(value, what)
    allowed = {f.name for f in fields(cls)}
    for name in given:
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            raise InvalidArchitecture(f"{what} has a field {_short(name)}; allowed: {known}")
    try:
        return cls(**given)
    except TypeError:
        missing = [
            f.name
            for f in fields(cls)
            if f.name not in given and f.default is MISSING and f.default_factory is MISSING
        ]
        raise InvalidArchitecture(f"{what} lacks {', '.join(missing)}") from None


def _is_text(value: object) -> bool:
    """Whether the value is text that can be written to a file (no lone surrogates)."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
