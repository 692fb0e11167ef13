"""What the learning controllers do with what they are told, beyond the contract."""

import contextlib
import copy
import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from mnas_search.controllers.evolution import Evolution, breed, select
from mnas_search.controllers.nsga2 import NSGA2
from mnas_search.controllers.ppo import PPO, clipped_objective
from mnas_search.controllers.recurrent_policy import RecurrentPolicy
from mnas_search.nas.space.choices import Decision, decode, encode, sizes
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


def policy_over(*options, seed=0, hidden=6):
    """A policy over decisions of two kinds in turn, so that some share a head or embeddings."""
    decisions = [
        Decision(name=f"s{j}.{'ab'[j % 2]}", options=tuple(range(n)))
        for j, n in enumerate(options)
    ]
    generator = torch.Generator().manual_seed(seed)
    return RecurrentPolicy(decisions, generator=generator, hidden=hidden)


def test_a_policys_probabilities_sum_to_one():
    policy = policy_over(3, 2, 1, 2)
    every = torch.tensor(list(np.ndindex(3, 2, 1, 2)))
    total = policy(every).log_prob(every).sum(1).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-5)


def test_a_policy_draws_what_its_log_probs_say():
    """Chi-square of 4,000 draws at 0.001: one false alarm in 1,000 seeds."""
    from scipy.stats import chisquare

    policy = policy_over(3, 2, 2, seed=1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter *= 12  # far from uniform
    every = torch.tensor(list(np.ndindex(3, 2, 2)))
    expected = policy(every).log_prob(every).sum(1).exp().detach().double().numpy()
    assert expected.max() > 3 * expected.min()
    drawn = policy.sample(4_000, torch.Generator().manual_seed(2))
    seen = [int((drawn == row).all(1).sum()) for row in every]
    assert chisquare(seen, 4_000 * expected / expected.sum()).pvalue > 0.001


def test_decisions_of_a_kind_share_embeddings_and_of_a_size_too_their_head():
    policy = policy_over(3, 2, 4, 2)  # kinds a, b, a, b
    assert {name: head.weight.shape for name, head in policy.heads.items()} == {
        "a-3": (3, 6),
        "b-2": (2, 6),
        "a-4": (4, 6),
    }
    assert policy.embedding.weight.shape == (1 + 4 + 2, 32)
    assert all(parameter.abs().max() <= 0.1 for parameter in policy.parameters())
    assert not any(head.bias.any() for head in policy.heads.values())


def test_options_that_a_decision_lacks_add_nothing_to_the_entropy():
    """Two options beside a decision with four: the logits are padded."""
    steps = policy_over(4, 2)(torch.zeros(1, 2, dtype=torch.long))
    entropy = steps.entropy()[0]
    assert np.log(2) - 0.01 < entropy[1] <= np.log(2) + 1e-6
    assert np.log(4) - 0.01 < entropy[0] <= np.log(4) + 1e-6


# -- the objective ---------------------------------------------------------------------------


def test_the_clipped_objective_by_hand():
    """Equation 7 for r = 0.5, 1, 1.1, 1.5 with eps = 0.2.

    A = 2: min(1, 1.6), min(2, 2), min(2.2, 2.2), min(3, 2.4); a gain stops above 1.2.
    A = -2: min(-1, -1.6), ..., min(-3, -2.4); a loss stops below 0.8.
    The derivative by log r is r A where the unclipped term is the smaller, and zero elsewhere.
    """
    log_ratio = torch.tensor([[0.5, 1, 1.1, 1.5]], dtype=torch.double).log().requires_grad_()
    for advantage, value, slope in (
        (2.0, [1, 2, 2.2, 2.4], [1, 2, 2.2, 0]),
        (-2.0, [-1.6, -2, -2.2, -3], [0, -2, -2.2, -3]),
    ):
        objective = clipped_objective(log_ratio, torch.full((1, 1), advantage), 0.2)
        np.testing.assert_allclose(objective.detach()[0], value, rtol=1e-12)
        (found,) = torch.autograd.grad(objective.sum(), log_ratio)
        np.testing.assert_allclose(found[0], slope, rtol=1e-12)


def test_an_update_takes_adams_steps_on_equation_7_plus_entropy():
    """Two epochs by hand, written down once more from the formula of the docstring."""
    controller = PPO(GIVEN, batch=4, clip=0.1, entropy=0.03, learning_rate=0.05)
    policy = copy.deepcopy(controller._policy)
    codes = torch.tensor(asks(controller, 4))
    rewards = np.array([0.3, 0.9, 0.5, 0.6])
    for k, row in enumerate(codes.tolist()):
        controller.tell(finished(tuple(row), k, reward=float(rewards[k])))
    baseline = rewards[0]
    for reward in rewards:
        baseline = 0.95 * baseline + 0.05 * reward
    advantages = (rewards - baseline) / rewards.std()
    adam = torch.optim.Adam(policy.parameters(), 0.05)
    old = policy(codes).log_prob(codes).detach()
    for _ in range(2):
        loss = 0.0
        for row, before, advantage in zip(codes, old, advantages, strict=True):
            steps = policy(row[None])
            for t, log_prob in enumerate(steps.log_prob(row[None])[0]):
                r = torch.exp(log_prob - before[t])
                clipped = min(max(r.item(), 0.9), 1.1) * advantage
                gain = r * advantage if (r * advantage).item() <= clipped else clipped
                loss = loss - (gain + 0.03 * steps.entropy()[0, t]) / len(codes)
        adam.zero_grad()
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in policy.parameters()]).norm()
        assert norm < 5  # not clipped
        adam.step()
    for own, expected in zip(controller._policy.parameters(), policy.parameters(), strict=True):
        np.testing.assert_allclose(own.detach(), expected.detach(), atol=1e-9)


# -- PPO -------------------------------------------------------------------------------------


def log_probs(controller, codes):
    given = torch.tensor([codes])
    return controller._policy(given).log_prob(given)[0].detach()


def log_prob(controller, codes):
    return float(log_probs(controller, codes).sum())


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
    at_asking = log_probs(controller, late)
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
    """Networks whose first kernel is 5 fail; the policy turns away from them."""
    controller = PPO(GIVEN)
    for k in range(160):
        (codes,) = asks(controller, 1, first=k)
        controller.tell(finished(codes, k, status="failed" if codes[1] else "ok"))
    drawn = controller._policy.sample(500, torch.Generator().manual_seed(0))
    assert drawn[:, 1].double().mean() < 0.35


def test_ppo_learns_nothing_where_nothing_differs():
    controller = PPO(GIVEN, batch=4)
    before = copy.deepcopy(controller._policy.state_dict())
    for k, codes in enumerate(asks(controller, 12)):
        controller.tell(finished(codes, k, reward=0.5))
    for name, value in controller._policy.state_dict().items():
        assert torch.equal(value, before[name])


def test_ppo_asks_for_what_is_new():
    asked = asks(PPO(GIVEN), 40)
    assert len(set(asked)) == 40


@contextlib.contextmanager
def limited(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
        assert torch.get_num_threads() == threads  # and the controller left it so
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_ppo_replayed_has_the_same_state_bit_for_bit(threads):
    """Three asks in flight, some told late, some failed, with any number of threads of torch."""
    live, replayed, flying, events = PPO(GIVEN, batch=4), PPO(GIVEN, batch=4), [], []
    for k in range(50):
        (codes,) = asks(live, 1, first=k)
        choices = decode(DECISIONS, codes)
        events.append(
            Asked(number=k, choices=choices, fingerprint=str(k), duplicate_of=None, seed=0)
        )
        flying.append((k, codes))
        if len(flying) > 3:
            number, done = flying.pop(k % 3)
            events.append(finished(done, number, status="ok" if k % 7 else "failed"))
            live.tell(events[-1])
    with limited(threads):
        for event in events:
            replayed.replay(event)
    for name, value in live._policy.state_dict().items():
        assert torch.equal(value, replayed._policy.state_dict()[name]), name
    own, other = (c._adam.state_dict()["state"] for c in (live, replayed))
    for key in own:
        assert all(torch.equal(own[key][name], other[key][name]) for name in own[key])
    assert asks(live, 12, first=50) == asks(replayed, 12, first=50)


def test_ppo_draws_from_nothing_but_the_generator_it_is_given():
    """Nor does it leave a trace in torch's own generator."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = history(PPO(GIVEN, batch=4))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert history(PPO(GIVEN, batch=4)) == first


def history(controller):
    for k in range(10):
        (codes,) = asks(controller, 1, first=k)
        controller.tell(finished(codes, k))
    return asks(controller, 5, first=10)


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
