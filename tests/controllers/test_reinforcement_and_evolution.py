"""What the learning controllers do with what they are told, beyond the contract."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from mnas_search.controllers.evolution import Evolution, breed, select
from mnas_search.controllers.nsga2 import NSGA2
from mnas_search.controllers.ppo import PPO, Adam, clipped_slope
from mnas_search.controllers.recurrent_policy import RecurrentPolicy
from mnas_search.nas.space.choices import decode, encode, sizes
from mnas_search.nas.trial import Asked, Trial
from mnas_search.testing import ControllerContract, toy_accuracy

SMALL = {
    "ppo": functools.partial(PPO, batch=4, epochs=2),
    "evolution": functools.partial(Evolution, population=5, sample=2),
    "nsga2": functools.partial(NSGA2, population=5),
}


@pytest.mark.parametrize("name", SMALL)
class TestPastTheStart(ControllerContract):
    """The contract again, so small that the suite's few trials reach updates and generations."""

    @pytest.fixture
    def controller(self, name):
        return SMALL[name]


GIVEN = ControllerContract().problem()
DECISIONS = GIVEN.decisions


def finished(codes, number=0, reward=None, status="ok"):
    choices = decode(DECISIONS, codes)
    costs = {name: int(x[0]) for name, x in GIVEN.costs(np.array([codes])).items()}
    own = toy_accuracy(choices) if reward is None else reward
    return Trial(
        number=number,
        choices=choices,
        fingerprint=str(codes),
        status=status,
        accuracy=toy_accuracy(choices) if status == "ok" else None,
        costs=costs,
        reward=own if status == "ok" else None,
        feasible=GIVEN.objective.is_feasible(costs),
        seconds=0.0,
    )


def asks(controller, count, first=0):
    return [
        encode(DECISIONS, controller.ask(np.random.default_rng((5, first + k))))
        for k in range(count)
    ]


# -- the policy ------------------------------------------------------------------------------


def test_a_policys_probabilities_sum_to_one():
    policy = RecurrentPolicy((3, 2, 1, 2), 5, np.random.default_rng(0))
    every = np.array(list(np.ndindex(3, 2, 1, 2)))
    total = np.exp(policy.forward(every).log_probs.sum(axis=1)).sum()
    assert total == pytest.approx(1, abs=1e-5)


def test_a_policy_draws_what_its_log_probs_say():
    """Chi-square of 4,000 draws at 0.001: one false alarm in 1,000 seeds."""
    from scipy.stats import chisquare

    policy = RecurrentPolicy((3, 2, 2), 6, np.random.default_rng(1))
    policy.weights *= 8  # far from uniform
    policy.refresh()
    every = np.array(list(np.ndindex(3, 2, 2)))
    expected = np.exp(policy.forward(every).log_probs.sum(axis=1).astype(float))
    drawn = policy.sample(4_000, np.random.default_rng(2))
    seen = [(drawn == row).all(axis=1).sum() for row in every]
    assert chisquare(seen, 4_000 * expected / expected.sum()).pvalue > 0.001


def test_the_gradient_is_torchs():
    """Against autograd through an LSTM written with torch's own cell."""
    import torch

    options, hidden, entropy = (3, 2, 4), 5, 0.3
    rng = np.random.default_rng(0)
    policy = RecurrentPolicy(options, hidden, rng)
    codes = rng.integers(0, options, (6, 3))
    slope = rng.normal(size=codes.shape).astype(np.float32)
    own = policy.backward(policy.forward(codes), slope, entropy)

    weights = torch.tensor(policy.weights, requires_grad=True)
    shapes = [(3, 4, 4 * hidden), (hidden, 4 * hidden), (3, hidden, 4), (3, 4)]
    parts = torch.split(weights, [int(np.prod(s)) for s in shapes])
    embedding, recurrent, decoder, bias = (
        p.reshape(s) for p, s in zip(parts, shapes, strict=True)
    )
    h = c = torch.zeros(6, hidden)
    fed, total = torch.zeros(6, dtype=torch.long), torch.zeros(())
    for j, size in enumerate(options):
        write, keep, show, new = (embedding[j, fed] + h @ recurrent).split(hidden, dim=1)
        c = torch.sigmoid(keep) * c + torch.sigmoid(write) * torch.tanh(new)
        h = torch.sigmoid(show) * torch.tanh(c)
        log_p = torch.log_softmax((h @ decoder[j] + bias[j])[:, :size], dim=1)
        fed = torch.tensor(codes[:, j])
        total = total + (torch.tensor(slope[:, j]) * log_p[torch.arange(6), fed]).sum()
        total = total - entropy * (log_p.exp() * log_p).sum()
    total.backward()
    np.testing.assert_allclose(own, weights.grad.numpy(), atol=1e-5)


# -- the objective ---------------------------------------------------------------------------


def test_the_clipped_objective_by_hand():
    """r = 0.5, 1, 1.1, 1.5 with eps = 0.2: a gain stops above 1.2, a loss below 0.8."""
    ratio = np.log(np.array([[0.5, 1, 1.1, 1.5]], np.float32))
    up = clipped_slope(ratio, np.float32([[2]]), 0.2)
    down = clipped_slope(ratio, np.float32([[-2]]), 0.2)
    np.testing.assert_allclose(up, [[1, 2, 2.2, 0]], rtol=1e-5)
    np.testing.assert_allclose(down, [[0, -2, -2.2, -3]], rtol=1e-5)


def test_adams_first_step_is_the_learning_rate():
    adam = Adam(0.01, size=3)
    np.testing.assert_allclose(adam.step(np.float32([5, -0.1, 0])), [0.01, -0.01, 0], rtol=1e-4)


# -- PPO -------------------------------------------------------------------------------------


def log_prob(controller, codes):
    return float(controller._policy.forward(np.array([codes])).log_probs.sum())


def test_ppo_learns():
    """Ten updates: the best network within the target becomes five times as likely, or more."""
    controller = PPO(GIVEN)
    every = np.array(list(np.ndindex(*sizes(DECISIONS))))
    allowed = every[GIVEN.costs(every)["macs"] <= GIVEN.objective.target].tolist()
    best = tuple(max(allowed, key=lambda codes: toy_accuracy(decode(DECISIONS, codes))))
    before = log_prob(controller, best)
    for k in range(200):
        (codes,) = asks(controller, 1, first=k)
        controller.tell(finished(codes, k))
    assert log_prob(controller, best) > before + np.log(5)


def test_ppo_knows_from_which_policy_a_late_trial_was_asked():
    """Asked before an update and told after it: the old probabilities are those of the asking."""
    controller = PPO(GIVEN, batch=4)
    late, *others = asks(controller, 5)
    at_asking = controller._policy.forward(np.array([late])).log_probs[0]
    for k, codes in enumerate(others):
        controller.tell(finished(codes, k))
    assert log_prob(controller, late) != pytest.approx(float(at_asking.sum()), abs=1e-3)
    (entry,) = controller._open[late]
    np.testing.assert_allclose(entry.old, at_asking, atol=1e-5)


def test_ppo_does_not_depend_on_the_scale_of_rewards():
    """Percent or fraction: the same asks; the few updates here do not show the rounding."""
    one, two = PPO(GIVEN, batch=4), PPO(GIVEN, batch=4)
    for k in range(24):
        (codes,) = asks(one, 1, first=k)
        assert (codes,) == tuple(asks(two, 1, first=k))
        one.tell(finished(codes, k))
        two.tell(finished(codes, k, reward=100 * toy_accuracy(decode(DECISIONS, codes))))


def test_ppo_avoids_what_fails():
    """Whatever has the first kernel 5 fails; the policy turns away from it."""
    controller = PPO(GIVEN)
    for k in range(160):
        (codes,) = asks(controller, 1, first=k)
        controller.tell(finished(codes, k, status="failed" if codes[1] else "ok"))
    drawn = controller._policy.sample(500, np.random.default_rng(0))
    assert drawn[:, 1].mean() < 0.35


def test_ppo_learns_nothing_where_nothing_differs():
    controller = PPO(GIVEN, batch=4)
    before = controller._policy.weights.copy()
    for k, codes in enumerate(asks(controller, 12)):
        controller.tell(finished(codes, k, reward=0.5))
    np.testing.assert_array_equal(controller._policy.weights, before)


def test_ppo_asks_for_what_is_new():
    asked = asks(PPO(GIVEN), 40)
    assert len(set(asked)) == 40


# -- evolution -------------------------------------------------------------------------------


def test_select_takes_the_best_of_its_sample():
    population = [finished((0,) * 6, k, reward=k / 10) for k in range(10)]
    rng = np.random.default_rng(0)
    assert select(population, 200, rng).number == 9
    assert {select(population, 1, rng).number for _ in range(200)} == set(range(10))


def test_breed_changes_one_decision():
    parent = decode(DECISIONS, (1, 0, 1, 0, 1, 0))
    child = breed(DECISIONS, parent, np.random.default_rng(0), lambda c: True, lambda c: True)
    assert sum(child[name] != parent[name] for name in parent) == 1


def test_breed_goes_on_from_what_is_known_and_gives_up():
    parent = decode(DECISIONS, (1, 0, 1, 0, 1, 0))
    tried = []

    def at_least_two_away(codes):
        tried.append(codes)
        return sum(a != b for a, b in zip(codes, (1, 0, 1, 0, 1, 0), strict=True)) >= 2

    rng = np.random.default_rng(0)
    assert breed(DECISIONS, parent, rng, lambda c: True, at_least_two_away) is not None
    assert len(tried) > 1
    assert breed(DECISIONS, parent, rng, lambda c: False, at_least_two_away) is None


def test_the_oldest_dies_and_only_networks_that_worked_live():
    controller = Evolution(GIVEN, population=3, sample=1)
    within = asks(controller, 3)
    for k, codes in enumerate([*within, *within]):
        controller.tell(finished(codes, k, status="failed" if k == 4 else "ok"))
    assert [t.number for t in controller._population] == [2, 3, 5]


def test_a_repeated_trial_is_no_second_life():
    controller = Evolution(GIVEN, population=3, sample=1)
    (codes,) = asks(controller, 1)
    controller.tell(finished(codes, 0))
    controller.tell(replace(finished(codes, 1), duplicate_of=0))
    assert len(controller._population) == 1


# -- NSGA-II ---------------------------------------------------------------------------------


def test_nsga2_breeds_from_the_front():
    """After five generations the asks are more accurate for their size than the first ones."""
    controller = NSGA2(GIVEN, population=10)
    gain = []
    for k in range(60):
        (codes,) = asks(controller, 1, first=k)
        trial = finished(codes, k)
        gain.append(trial.accuracy - 0.4 * np.log(trial.macs / GIVEN.objective.target))
        controller.tell(trial)
    assert np.mean(gain[-20:]) > np.mean(gain[:10])


def test_a_replayed_ask_is_matched_to_its_tell():
    controller = NSGA2(GIVEN, population=5)
    codes = (0, 0, 0, 0, 0, 0)
    choices = decode(DECISIONS, codes)
    controller.replay(Asked(number=0, choices=choices, fingerprint="x", duplicate_of=None, seed=0))
    controller.replay(finished(codes))
    assert not controller._study._open[codes]
    assert len(controller._study._study.trials) == 1
