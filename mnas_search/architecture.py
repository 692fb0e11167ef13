"""The frozen value that everything else is a function of: a network as a chain of stages.

An `Architecture` that exists is valid: construction raises `InvalidArchitecture` and nothing
returns half a network. It holds choices, not sizes; `mnas_search.blocks` resolves every integer.
"""

import hashlib
import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from mnas_search import plugins
from mnas_search.errors import InvalidArchitecture

ACTIVATIONS = ("silu", "relu", "relu6", "hard_swish", "mish", "gelu")
PADDINGS = ("symmetric", "same")
SKIPS = ("none", "identity", "pool", "projection")
FORMAT = "mnas-search architecture"
VERSION = 1

# Bounds that no sensible network meets: they turn a typing error into a message instead of a
# machine out of memory.
MAX_CHANNELS = 65_536
MAX_REPEATS = 1_000
MAX_BLOCKS = 5_000  # of all stages together
MAX_NAME = 1_000  # characters
MAX_RESOLUTION = 16_384
MAX_KERNEL = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """The first convolution, with batch norm and activation.

    Attributes:
        channels: output channels.
        kernel: odd kernel size.
        stride: 1 or 2.
        pool: whether a 3x3 max pool of stride 2 follows, as in ResNet.
    """

    channels: int = 32
    kernel: int = 3
    stride: int = 2
    pool: bool = False

    def __post_init__(self) -> None:
        _integer("stem channels", self.channels, 1, MAX_CHANNELS)
        _odd("stem kernel", self.kernel)
        _one_of("stem stride", self.stride, (1, 2))
        if not isinstance(self.pool, bool):
            raise InvalidArchitecture(f"stem pool is {self.pool!r}; allowed: true, false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`repeats` blocks of one kind; only the first one strides and changes the width.

    Attributes:
        kind: block kind (`cn`, `ds`, `dsa`, `ir`, `er`, `basic`, `bottleneck`, or a plug-in's).
        kernel: odd size of the spatial convolution.
        stride: 1 or 2, of the first block.
        expansion: width inside the block over its input width (MBConv's t); of a `bottleneck`
            over its output width (ResNet's 1/4); 1 for kinds that have no width of their own.
        out_channels: output channels of every block.
        repeats: number of blocks.
        se_ratio: squeeze-and-excitation width over the block's input width; 0 for none.
        skip: `identity` (where stride is 1 and widths agree), `pool` (3x3 average pool of the
            input with the block's stride, where widths agree), `projection` (ResNet's: identity
            where stride is 1 and widths agree, else a 1x1 convolution with the block's stride and
            batch norm), or `none`. Not every kind has every skip.
        activation: one of `ACTIVATIONS`.

    An `ir` of expansion 1 becomes a `ds`: without expansion MBConv has no expansion convolution
    (TensorFlow's EfficientNet).
    """

    kind: str
    kernel: int
    stride: int
    out_channels: int
    repeats: int
    expansion: float = 1
    se_ratio: float = 0.0
    skip: str = "identity"
    activation: str = "silu"

    def __post_init__(self) -> None:
        _odd("kernel", self.kernel)
        _one_of("stride", self.stride, (1, 2))
        _integer("out_channels", self.out_channels, 1, MAX_CHANNELS)
        _integer("repeats", self.repeats, 1, MAX_REPEATS)
        _number("expansion", self.expansion, 0, 64, low_open=True)
        _number("se_ratio", self.se_ratio, 0, 1)
        _one_of("skip", self.skip, SKIPS)
        _one_of("activation", self.activation, ACTIVATIONS)
        # One spelling a value, or equal networks would differ as JSON (6 and 6.0, 0 and 0.0).
        object.__setattr__(self, "expansion", _plain(self.expansion))
        object.__setattr__(self, "se_ratio", float(self.se_ratio) + 0.0)  # no -0.0
        if self.kind == "ir" and self.expansion == 1:
            object.__setattr__(self, "kind", "ds")
        kind = plugins.block_kind(self.kind)
        if self.skip not in kind.skips:
            raise InvalidArchitecture(
                f"skip is {self.skip!r} on {self.kind!r}; allowed: {', '.join(kind.skips)}"
            )
        kind.check(self)

    def skip_acts(self, in_channels: int) -> bool:
        """Whether any block of the stage, whose input is `in_channels` wide, has a shortcut."""
        if self.skip in ("none", "projection"):
            return self.skip == "projection"
        first = in_channels == self.out_channels and (self.stride == 1 or self.skip == "pool")
        return first or self.repeats > 1


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
        """The stages in timm's grammar, one word a stage (`mnas_search.block_string`)."""
        from mnas_search.block_string import format_stages

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
        from mnas_search.block_string import parse_stages

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


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: float) -> float:
    return int(value) if value == int(value) else float(value)


def _integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidArchitecture(
            f"{name} is {_short(value)}; allowed: a whole number from {low} to {high}"
        )


def _odd(name: str, value: object) -> None:
    _integer(name, value, 1, MAX_KERNEL)
    if isinstance(value, int) and value % 2 == 0:
        raise InvalidArchitecture(f"{name} is {value}; allowed: odd numbers up to {MAX_KERNEL}")


def _number(
    name: str,
    value: object,
    low: float,
    high: float,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if good:
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.inf
        good = (
            math.isfinite(number)
            and (number > low if low_open else number >= low)
            and (number < high if high_open else number <= high)
        )
    if not good:
        left, right = "(" if low_open else "[", ")" if high_open else "]"
        raise InvalidArchitecture(
            f"{name} is {_short(value)}; allowed: a number in {left}{low:g}, {high:g}{right}"
        )


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if isinstance(value, bool) or value not in allowed:
        choices = ", ".join(str(a) for a in allowed)
        raise InvalidArchitecture(f"{name} is {_short(value)}; allowed: {choices}")
