"""Long searches: what controllers look at is bounded, and what they leave out changes nothing that
is promised."""

import zlib

import numpy as np
import pytest
from strategies import SPACES

from mnas_search.controllers.nsga2 import NSGA2
from mnas_search.controllers.optuna_study import TrialStorage
from mnas_search.controllers.tpe import TPE
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.choices import encode
from mnas_search.nas.trial import Asked, Trial
from mnas_search.testing import ToySpace

SPACE, FLIGHT = ToySpace(), 3
GIVEN = problem(SPACE, Objective(target=400e3))


def finished(number, choices):
    """An outcome that the choices alone decide: one in seven fails, one in seven is stopped."""
    codes = np.array([encode(SPACE.decisions, choices)])
    drawn = zlib.crc32(codes.tobytes())
    status = {0: "failed", 1: "stopped"}.get(drawn % 7, "ok")
    accuracy = None if status == "failed" else 0.5 + drawn % 1000 / 2500
    costs = {name: int(cost[0]) for name, cost in GIVEN.costs(codes).items()}
    return Trial(
        number=number,
        choices=choices,
        fingerprint=str(drawn),
        status=status,
        accuracy=accuracy,
        costs=costs,
        reward=GIVEN.objective.reward_of(accuracy, costs) if status == "ok" else None,
        feasible=True,
        seconds=1.0,
        error="it failed" if status == "failed" else None,
        rung=1 if status == "stopped" else None,
    )


def run(controller, count):
    """Ask and tell with three in flight, told in another order; the events."""
    events, flying = [], []
    for number in range(count):
        choices = controller.ask(np.random.default_rng((5, number)))
        asked = Asked(
            number=number, choices=choices, fingerprint="x", duplicate_of=None, seed=number
        )
        events.append(asked)
        flying.append(asked)
        if len(flying) == FLIGHT:
            done = flying.pop(number % FLIGHT)
            events.append(finished(done.number, done.choices))
            controller.tell(events[-1])
    return events


def asks(events):
    return [dict(event.choices) for event in events if isinstance(event, Asked)]


def listed(controller):
    return len(controller._study._storage.get_all_trials(0, deepcopy=False))


def unlimited(monkeypatch):
    monkeypatch.setattr(TrialStorage, "retire", lambda self, numbers: list(numbers))


def test_older_generations_change_no_proposal_of_nsga2(monkeypatch):
    controller = NSGA2(GIVEN, population=6)
    bounded = run(controller, 90)
    assert listed(controller) <= 3 * 6 + FLIGHT  # a generation, its parents, those in flight
    unlimited(monkeypatch)
    controller = NSGA2(GIVEN, population=6)
    assert asks(run(controller, 90)) == asks(bounded)
    assert listed(controller) >= 90


def test_tpe_is_optunas_until_the_window_is_full(monkeypatch):
    controller = TPE(GIVEN, window=60)
    bounded = run(controller, 60)
    unlimited(monkeypatch)
    assert asks(run(TPE(GIVEN, window=60), 60)) == asks(bounded)


def test_tpe_looks_at_a_window_of_the_best_and_the_latest():
    controller = TPE(GIVEN, window=20)
    told = [event for event in run(controller, 80) if isinstance(event, Trial)]
    assert listed(controller) == 20 + FLIGHT - 1
    finished_ones = controller._study._study.get_trials(deepcopy=False)
    values = {trial.value for trial in finished_ones if trial.state.is_finished()}
    rewards = sorted((t.reward for t in told if t.reward is not None), reverse=True)
    assert set(rewards[:4]) <= values  # a fifth of 20
    assert {t.reward for t in told[-10:] if t.reward is not None} <= values


@pytest.mark.parametrize("make", [lambda: TPE(GIVEN, window=20), lambda: NSGA2(GIVEN)])
def test_a_long_history_replayed_gives_the_same_next_asks(make):
    controller, replayed = make(), make()
    for event in run(controller, 80):
        replayed.replay(event)
    for number in range(80, 90):
        rng = (np.random.default_rng((5, number)) for _ in range(2))
        assert controller.ask(next(rng)) == replayed.ask(next(rng))


def test_distributions_are_compared_by_identity(monkeypatch):
    """Else every draw compares all options of all decisions of all trials."""
    from optuna.distributions import CategoricalDistribution

    compared = []
    original = CategoricalDistribution.__eq__

    def counting(self, other):
        compared.append(1)
        return original(self, other)

    monkeypatch.setattr(CategoricalDistribution, "__eq__", counting)
    space = SPACES["efficientnet"]
    controller = TPE(problem(space, Objective(target=400e6)))
    for number in range(12):
        controller.ask(np.random.default_rng(number))
    assert not compared
