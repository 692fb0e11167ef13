"""The networks that are ranked: recorded ones of NAS-Bench-Macro, or some of a search space."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.common.errors import UsageError
from mnas_search.experiments.deployment import find_deployment
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem, problem
from mnas_search.nas.space.choices import Codes, decode, sample_codes
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace
from mnas_search.nas.space.cost import space_cost

_DRAWN, _BATCHES = 4_096, 256  # networks at a time, and how often, to find some within a band


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Distinct networks of a search space, with exact counts.

    Attributes:
        codes: [N, D].
        resolution: of the images, in pixels.
        macs, params, blocks: of the networks [N]; identities are no blocks.
        read, trained: which networks cheap readings and proxy trainings are made of.
    """

    space: SearchSpace
    codes: Codes
    resolution: int
    macs: NDArray[np.int64]
    params: NDArray[np.int64]
    blocks: NDArray[np.int64]
    read: NDArray[np.int64]
    trained: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)

    def architecture(self, index: int) -> Architecture:
        """Return a network."""
        return architecture_of(self.space, self.codes[index])


def make_subject(settings: Settings, data: str, num_classes: int) -> Subject:
    """Return the networks of these settings, for the classes of the data."""
    if settings.is_macro:
        macro = NasBenchMacro(num_classes=num_classes)
        space: SearchSpace = macro
        codes: Codes = recorded.networks(settings.split).codes
        resolution = macro.template.resolution
    else:
        place = find_deployment(settings.space, data, None)
        space, _ = place.adapt_space(place.make_space(num_classes))
        codes, resolution = _drawn(space, settings), place.resolution
    if settings.networks > len(codes):
        raise UsageError(f"networks must be at most {len(codes)}, got {settings.networks}")
    if settings.trained > settings.networks:
        raise UsageError(
            f"trained must be at most {settings.networks}, the number of networks, "
            f"got {settings.trained}"
        )
    counter = space_cost(space)
    costs = counter(codes)
    order = np.random.default_rng(settings.seed).permutation(len(codes))
    return Subject(
        space=space,
        codes=codes,
        resolution=resolution,
        macs=costs["macs"].astype(np.int64),
        params=costs["params"].astype(np.int64),
        blocks=counter.blocks(codes),
        read=order[: settings.networks],
        trained=order[: settings.trained],
    )


def problem_of(subject: Subject, prior: BatchAccuracy | None = None) -> Problem:
    """Return the search among all networks of the space, with this prior."""
    objective = Objective(target=float(2 * subject.macs.max()))  # bounds none of them
    return problem(subject.space, objective, prior=prior)


def architecture_of(space: SearchSpace, codes: Codes | tuple[int, ...]) -> Architecture:
    """Return the network of codes [D]."""
    network = space.decode(decode(space.decisions, codes))
    if not isinstance(network, Architecture):
        raise UsageError(f"space must consist of stages, got the traced network {network.label!r}")
    return network


def _drawn(space: SearchSpace, settings: Settings) -> Codes:
    """Draw distinct networks within the band."""
    if settings.band is None:
        raise UsageError(f"space {settings.space!r} requires a band of multiply-adds (--band)")
    low, high = settings.band
    rng, count = np.random.default_rng(settings.seed), space_cost(space)
    found: dict[str, Codes] = {}
    for _ in range(_BATCHES):
        codes = sample_codes(space.decisions, _DRAWN, rng)
        macs = count(codes)["macs"]
        for row in codes[(macs >= low) & (macs <= high)]:
            found.setdefault(architecture_of(space, row).fingerprint, row)
            if len(found) == settings.networks:
                return np.array(list(found.values()))
    raise UsageError(
        f"band must hold {settings.networks} networks of space {settings.space!r}, got "
        f"{low:g} to {high:g} multiply-adds with {len(found)}"
    )
