"""How test images become the input of a network, as one value.

The test's own evaluation, `predict`, and all that an export says of its images derive from it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, final

from mnas_search.common.checks import check_choice, check_integer, check_number, shown
from mnas_search.common.errors import UsageError

Channels = tuple[float, float, float]  # R, G, B
BICUBIC: Final = "bicubic"
BILINEAR: Final = "bilinear"
_MAX_SIZE = 16_384
_MAX_MEAN = 1e6  # images are in [0, 1] or [0, 255]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Mean and standard deviation of each channel, of images in [0, 1]."""

    mean: Channels
    std: Channels


# What most published weights were trained with (torchvision, timm).
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How an image becomes the input of a network.

    The centre of the image, a square of `crop` times its shorter side, is resized to `size`
    pixels; then the channels R, G, B, in [0, 1], are normalised.

        Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), size=32)

    Attributes:
        mean, std: of each channel, of images in [0, 1].
        size: side of the network's input, in pixels.
        crop: fraction of the shorter side, in (0, 1].
        interpolation: "bicubic" or "bilinear", with antialiasing.

    Raises:
        UsageError: a value is not valid.
    """

    mean: Channels
    std: Channels
    size: int
    crop: float = 1.0
    interpolation: str = BICUBIC

    def __post_init__(self) -> None:
        for name, interval in (
            ("mean", f"[-{_MAX_MEAN:g}, {_MAX_MEAN:g}]"),
            ("std", f"[1e-6, {_MAX_MEAN:g}]"),
        ):
            values = getattr(self, name)
            if not isinstance(values, tuple | list) or len(values) != 3:
                raise UsageError(f"{name} must be three numbers, got {shown(values)}")
            for value in values:
                check_number(name, value, interval)
            object.__setattr__(self, name, tuple(float(value) for value in values))
        check_integer("size", self.size, 1, _MAX_SIZE)
        check_number("crop", self.crop, "(0, 1]")
        check_choice("interpolation", self.interpolation, (BICUBIC, BILINEAR))

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of the channels."""
        return Normalisation(mean=self.mean, std=self.std)

    def to_dict(self) -> dict[str, Any]:
        """Return mean, std, size, crop and interpolation as JSON values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, value: Any) -> "Preprocessing":
        """Read what `to_dict` returns; raises `UsageError` for anything else."""
        try:
            return cls(**value)
        except TypeError as error:
            raise UsageError(
                f"preprocessing must have mean, std, size, crop and interpolation: {error}"
            ) from None
