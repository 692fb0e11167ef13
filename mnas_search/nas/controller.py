"""The contract of controllers: ask and tell."""

from abc import ABC, abstractmethod
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.common import plugins
from mnas_search.common.checks import shown
from mnas_search.common.errors import UsageError, error_context
from mnas_search.nas.space.choices import Choices, Codes
from mnas_search.nas.trial import Asked, Trial


class Controller(ABC):
    """Proposes choices and learns from finished trials.

    Constructed with the `Problem`. Any number of asks may be in flight; tells come late, out of
    order, or for trials that were never asked (a warm start). All randomness comes from the
    generator passed to `ask`, which is seeded anew for every ask: state lies in what was told.
    Networks that break a constraint cannot win: use `problem.is_feasible` to propose others.

    Attributes:
        uses_prior: whether it makes use of `problem.prior`.
    """

    uses_prior: ClassVar[bool] = False

    @abstractmethod
    def ask(self, rng: np.random.Generator) -> Choices:
        """Return the next choices to try; `rng` is consumed."""

    @abstractmethod
    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial: `ok` with its reward, or `failed` or `stopped` without."""

    def resume_ask(self, choices: Choices) -> None:
        """Change the state as an `ask` that returned `choices` did; override where asks do."""
        del choices

    @final
    def replay(self, event: Asked | Trial) -> None:
        """Take back one event of an interrupted run, in its order; nothing is proposed anew."""
        if isinstance(event, Trial):
            self.tell(event)
        else:
            self.resume_ask(event.choices)

    def estimate(self, codes: Codes) -> NDArray[np.float64] | None:
        """Return the expected accuracies [N] of networks of these codes [N, D], without noise;
        override where there is a model. The winner among noisy measurements is chosen by these."""
        del codes
        return None


def estimates_of(controller: Controller, codes: Codes) -> list[float] | None:
    """Return the controller's estimates for codes [N, D]; None where it has no model. Raises
    `UsageError` where they are not N finite numbers."""
    with error_context("the controller's estimate"):
        means = controller.estimate(codes)
        found = None if means is None else [float(mean) for mean in means]
    if found is not None and not (len(found) == len(codes) and np.isfinite(found).all()):
        raise UsageError(
            f"the controller's estimate must give {len(codes)} finite numbers, got {shown(means)}"
        )
    return found


def load_controller(name: str) -> type[Controller]:
    """Return the controller class of a name or `file.py:Name`."""
    found = plugins.load("controllers", name)
    if not (isinstance(found, type) and issubclass(found, Controller)):
        raise UsageError(f"controller must name a Controller class, got {name!r}")
    return found
