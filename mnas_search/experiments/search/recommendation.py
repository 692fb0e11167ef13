"""What a run recommends: its winner, or a baseline that is as good.

`recommended.json` holds it. Commands that are given the run's folder as ARCH take this network;
`best.json` stays the search's own winner.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, Protocol, TypeVar, final

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import RunFolderError
from mnas_search.common.files import read_json, write_json

FILE = "recommended.json"
Source = Literal["winner", "baseline"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The network that a run recommends.

    A run that trained nothing on a user's data, such as one by predictions, recommends its winner,
    and validation, test, interval and weights are None.

    Attributes:
        name: the run's for its winner; for a baseline, an ARCH such as `efficientnet_b0 x0.44`.
            With `init`, baselines have the resolution and activation of the pretrained network,
            which their names do not say: there the run's folder is the ARCH of the network.
        source: `winner` of the search, or `baseline`.
        architecture: None for a network that is no chain of stages.
        validation: mean accuracy of fresh seeds on the validation split, by which it was chosen.
        test: mean accuracy on the test split, read after the choice; None before.
        interval: lower and upper end of the test accuracy's 95 % interval.
        weights: that it starts from, as `--init` takes them, remapped where they are another
            network's; None for random initialisation.
    """

    name: str
    source: Source
    architecture: Architecture | None
    validation: float | None = None
    test: float | None = None
    interval: tuple[float, float] | None = None
    weights: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        network = self.architecture
        return asdict(self) | {"architecture": None if network is None else network.to_dict()}


def write_recommended(recommendation: Recommendation, folder: Path) -> Path:
    """Write a run's recommended.json."""
    return write_json(folder / FILE, recommendation.to_dict())


def read_recommended(folder: Path) -> Recommendation:
    """Read what the run in a folder recommends.

    Example:
        >>> read_recommended(Path("runs/100M-1")).name  # doctest: +SKIP
        'efficientnet_b0 x0.44'

    Raises:
        RunFolderError: the folder has no recommended.json, or not a run's.
    """
    file = folder / FILE
    if not file.is_file():
        raise RunFolderError(f"{str(folder)!r} has no {FILE}: it holds no run with a winner")
    try:
        found = read_json(file)
        network, interval = found["architecture"], found["interval"]
        return Recommendation(
            name=str(found["name"]),
            source="baseline" if found["source"] == "baseline" else "winner",
            architecture=None if network is None else Architecture.from_dict(network),
            validation=found["validation"],
            test=found["test"],
            interval=None if interval is None else (float(interval[0]), float(interval[1])),
            weights=found["weights"],
        )
    except (ValueError, LookupError, TypeError) as error:
        raise RunFolderError(f"{str(file)!r} holds no recommendation: {error}") from error


class Compared(Protocol):
    """A network as the choice sees it: its validation accuracies, one of each fresh seed; its
    multiply-adds; and its own pretrained weights, if it has any."""

    @property
    def validation(self) -> Sequence[float]: ...
    @property
    def macs(self) -> int: ...
    @property
    def weights(self) -> str | None: ...


AnyCompared = TypeVar("AnyCompared", bound=Compared)


def recommend(compared: Sequence[AnyCompared], margin: float) -> AnyCompared:
    """Choose a network by its mean validation accuracy over fresh seeds.

    Differences within the interval of the best mean are no reason to choose: among such networks a
    pretrained one comes first, then the one with the fewest multiply-adds.

    Args:
        compared: at least one.
        margin: half the width of the 95 % interval of a mean over seeds. It leaves out the choice
            of images, which is the same for all.
    """
    best = max(fmean(one.validation) for one in compared)
    equal = [one for one in compared if fmean(one.validation) >= best - margin]
    return min(equal, key=lambda one: (one.weights is None, one.macs, -fmean(one.validation)))
