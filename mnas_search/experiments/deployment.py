"""Where the networks of an experiment will be used: at which resolution, with which strides.

A search finds the network that is trained and exported later, so its networks have the resolution
of the user's images, and the strides that fit it (`mnas_search.architecture.adaptation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from mnas_search.architecture.adaptation import FULL_STRIDES, adapt
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import MnasSearchError, error_context
from mnas_search.data.loading import is_embedded, own_resolution
from mnas_search.nas.space.adapted import adapt_space
from mnas_search.nas.space.contract import SearchSpace, fixed_resolution, make_space

_DEFAULT = 224  # pixels: ImageNet's
ADAPTED = "adapted"  # in config.json; folders of older versions lack it


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The deployment of a space's networks.

    Attributes:
        space: its name.
        resolution: in pixels.
        fixed: whether the resolution is the space's own, which takes none.
        adapts: whether strides are dropped for small images, and proxies follow the deployment;
            not in folders of older versions.
        note: where the resolution comes from, if it was not given.
    """

    space: str
    resolution: int
    fixed: bool
    adapts: bool
    note: str | None

    def make_space(self, num_classes: int | None) -> SearchSpace:
        """Return the space, its strides as they are."""
        resolution = None if self.fixed else self.resolution
        return make_space(self.space, resolution=resolution, num_classes=num_classes)

    def adapt_space(self, space: SearchSpace) -> tuple[SearchSpace, tuple[str, ...]]:
        """Return the space with its networks adapted, and sentences on resolution and strides."""
        changed = None
        if self.adapts and not self.fixed:
            with error_context("the search space's decode"):
                space, changed = adapt_space(space, self.resolution)
        return space, tuple(note for note in (self.note, changed) if note is not None)

    def of(self, architecture: Architecture) -> Architecture:
        """Return an architecture as it is deployed."""
        if not self.adapts:
            return replace(architecture, resolution=self.resolution)
        return adapt(architecture, self.resolution)

    @property
    def of_proxies(self) -> int | None:
        """The resolution that proxies follow; None in folders of older versions."""
        return self.resolution if self.adapts else None

    @property
    def recorded(self) -> dict[str, Any]:
        """What config.json says of it besides the resolution."""
        return {ADAPTED: True} if self.adapts else {}


def find_deployment(
    space: str,
    data: str | None,
    resolution: int | None,
    *,
    pretrained: int | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> Deployment:
    """Return the deployment of a space's networks.

    Args:
        resolution: None for the space's if it fixes one, else the data's own
            (`mnas_search.data.loading.own_resolution`), else 224.
        pretrained: the resolution for networks that start from pretrained weights, which were
            trained on larger images and with every stride: no stride is dropped.
        recorded: the options of the folder that is resumed; None for a new one.
    """
    resumed = recorded is not None
    if recorded is not None and resolution is None:
        resolution = recorded.get("resolution", _DEFAULT)
    own, note, embedded = fixed_resolution(space), None, is_embedded(data)
    if resolution is None and own is not None:
        resolution = own
        if not embedded:
            note = f"the space fixes its resolution, {own} pixels: its networks stay as they are"
    elif resolution is None and pretrained is not None:
        resolution = pretrained
        note = (
            f"networks are deployed at {resolution} pixels, the largest resolution at which the "
            "pretrained network is within the target (--resolution changes it)"
        )
    elif resolution is None and (side := _of_data(data)) is not None:
        resolution = side
        note = (
            f"networks are deployed at {resolution} pixels, the median shorter side of the images "
            "to a multiple of 32 (--resolution changes it)"
        )
    resolution = resolution or _DEFAULT
    matters = pretrained is None and (not embedded or resolution < FULL_STRIDES)
    return Deployment(
        space=space,
        resolution=resolution,
        fixed=own == resolution,
        adapts=bool(recorded.get(ADAPTED)) if recorded is not None else matters,
        note=None if resumed else note,
    )


def _of_data(data: str | None) -> int | None:
    """Return the data's own resolution; None where they are no images for us. Whoever reads them
    then says what is wrong: an evaluator may take data of another kind."""
    try:
        return own_resolution(data)
    except MnasSearchError:
        return None
