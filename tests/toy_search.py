"""Searches of the toy space that ask what a test tells them to."""

import numpy as np

from mnas_search.nas.controller import Controller
from mnas_search.nas.core import Search
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import decode, encode
from mnas_search.nas.trial import Evaluation
from mnas_search.testing import ToySpace, toy_accuracy

OBJECTIVE = Objective(target=400e3)


class Scripted(Controller):
    """Asks what it was told to ask, and remembers what it is told."""

    def __init__(self, codes):
        self.codes, self.asked, self.told, self.resumed = list(codes), 0, [], []

    def ask(self, rng):
        self.asked += 1
        return decode(ToySpace().decisions, self.codes[self.asked - 1])

    def tell(self, trial):
        self.told.append(trial)

    def resume_ask(self, choices):
        self.resumed.append(encode(ToySpace().decisions, choices))
        self.asked += 1


def codes_of(*numbers):
    every = list(np.ndindex(3, 2, 3, 2, 3, 2))
    return [every[n] for n in numbers]


def make(journal, controller, trials=5, **options):
    return Search(
        space=ToySpace(),
        objective=OBJECTIVE,
        controller=controller,
        trials=trials,
        seed=0,
        journal=journal,
        **options,
    )


def finish(search, work):
    search.record(work, Evaluation(accuracy=toy_accuracy(search.choices(work))), 1.0)
