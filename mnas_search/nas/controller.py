"""The contract of controllers: ask and tell."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mnas_search.nas.space.choices import Choices, Codes
from mnas_search.nas.trial import Asked, Trial


class Controller(ABC):
    """Proposes choices and learns from finished trials.

    Constructed with the `Problem`. Any number of asks may be in flight; tells come late, out of
    order, or for trials that were never asked (a warm start). All randomness comes from the
    generator passed to `ask`, which is seeded anew for every ask: state lies in what was told.
    Networks that break a constraint cannot win: use `problem.within` to propose others.

    Attributes:
        takes_prior: whether it makes use of `problem.prior`.
    """

    takes_prior: ClassVar[bool] = False

    @abstractmethod
    def ask(self, rng: np.random.Generator) -> Choices:
        """The next choices to try; `rng` is consumed."""

    @abstractmethod
    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial: `ok` with its reward, or `failed` or `stopped` without."""

    @abstractmethod
    def replay(self, event: Asked | Trial) -> None:
        """Take back one event of an interrupted run, in its order: an ask as if it had been
        answered with these choices, a trial as in `tell`. Nothing is proposed anew."""

    def estimate(self, codes: Codes) -> NDArray[np.float64] | None:
        """Accuracies [N] that networks of these codes [N, D] are believed to have, noise taken
        off; override where there is a model. The winner among noisy measurements is chosen by
        these, not by the luckiest of them."""
        del codes
        return None
