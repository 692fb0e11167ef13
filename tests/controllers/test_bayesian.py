"""What `bayesian` models: log errors, rewards by them, blocks and priors beside the decisions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kendalltau, norm

from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.controllers.bayesian import Bayesian
from mnas_search.controllers.network_model import Model, Points, feasible_codes
from mnas_search.controllers.responses import Accuracy, LogError
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.choices import decode, encode, sample_codes
from mnas_search.nas.space.cost import PerNetworkCost, space_cost
from mnas_search.nas.trial import Trial
from mnas_search.testing import ToySpace

LOOSE = problem(ToySpace(), Objective(target=1e9, kind="hard"))
TOY = problem(ToySpace(), Objective(target=400e3))
CODES = sample_codes(TOY.decisions, 6, np.random.default_rng(0))
MACRO = problem(NasBenchMacro(), Objective(target=1e9, kind="hard"))


def told(given, row, accuracy):
    choices = decode(given.decisions, row)
    return Trial(
        number=0,
        choices=choices,
        fingerprint="",
        status="ok",
        accuracy=float(accuracy),
        costs={"macs": 1, "params": 1},
        reward=0.0,
        feasible=True,
        seconds=0.0,
    )


def taught(controller, given, codes, accuracies):
    for row, accuracy in zip(codes, accuracies, strict=True):
        controller.tell(told(given, row, accuracy))
    return controller


# -- rewards by log errors ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["soft", "hard", "absolute"])
@pytest.mark.parametrize("best", [-0.5, 0.6, 0.93])
def test_improvement_and_expectation_are_those_of_the_reward(kind, best):
    """By quadrature over the log error, with the objective's own rewards of single networks."""
    given = replace(TOY, objective=Objective(target=400e3, kind=kind))
    response = LogError(given)
    mean, std = np.linspace(-3.0, -0.5, 6), np.linspace(0.05, 1.0, 6)
    found = np.exp(response.log_improvement(CODES, mean, std, best))
    expected = response.expected_rewards(CODES, mean, std)
    for k, cost in enumerate(given.target_cost(CODES)):

        def reward(y, cost=cost):
            return given.objective.reward(1 - np.exp(y), float(cost))

        def gain(z, k=k, reward=reward):
            return max(0.0, reward(mean[k] + std[k] * z) - best) * norm.pdf(z)

        def capped(z, k=k, reward=reward):
            return reward(min(mean[k] + std[k] * z, 0.0)) * norm.pdf(z)

        options = {"limit": 400, "points": [0.0], "epsabs": 1e-11}
        assert found[k] == pytest.approx(quad(gain, -12, 12, **options)[0], rel=1e-5, abs=1e-9)
        assert expected[k] == pytest.approx(quad(capped, -12, 12, **options)[0], rel=1e-6)


def test_nothing_improves_on_a_reward_that_no_accuracy_reaches():
    response = LogError(LOOSE)
    mean, std = np.full(6, -1.0), np.full(6, 0.3)
    assert np.isneginf(response.log_improvement(CODES, mean, std, 1.0)).all()
    assert np.isfinite(response.log_improvement(CODES, mean, std, 1 - 1e-9)).all()


def test_small_uncertainties_give_the_normal_improvement():
    """Where the log error is nearly linear in the accuracy."""
    mean, std, best = np.full(6, np.log(0.1)), np.full(6, 1e-3), 0.9
    by_error = LogError(LOOSE).log_improvement(CODES, mean, std, best)
    by_accuracy = Accuracy(LOOSE).log_improvement(CODES, np.full(6, 0.9), 0.1 * std, best)
    np.testing.assert_allclose(by_error, by_accuracy, rtol=0.01)


@pytest.mark.parametrize(
    ("images", "accuracies", "errors"),
    [
        (50, [0.5, 1.0, 0.99, 0.98], [0.5, 0.01, 0.01, 0.02]),
        (None, [0.5, 1.0, 0.98, 0.0], [0.5, 0.01, 0.02, 1.0]),
        (None, [1.0, 1.0], [1e-3, 1e-3]),
        (None, [1.0, 1 - 1e-15], [1e-6, 1e-6]),
    ],
)
def test_perfect_networks_err_in_half_an_image(images, accuracies, errors):
    response = LogError(replace(TOY, validation_images=images))
    values = response.values(CODES[: len(accuracies)], np.array(accuracies))
    np.testing.assert_allclose(values, np.log(errors), atol=1e-9)


@pytest.mark.parametrize("outcome", [[0.0], [1.0], [0.0, 1.0], [0.5, 1.0, 1.0]], ids=str)
def test_extreme_accuracies_are_estimated_as_fractions(outcome):
    accuracies = np.resize(outcome, 20)
    codes = np.unique(sample_codes(TOY.decisions, 60, np.random.default_rng(1)), axis=0)[:20]
    controller = taught(Bayesian(TOY, first=2), TOY, codes, accuracies)
    estimates = controller.estimate(codes)
    assert ((estimates >= 0) & (estimates <= 1)).all()
    if len(outcome) == 1:
        np.testing.assert_allclose(estimates, outcome[0], atol=0.01)
    assert controller.ask(np.random.default_rng(0))


# -- blocks and priors ----------------------------------------------------------------------------


def agreement(given, accuracies, known, **options):
    """Kendall's tau of the estimates with recorded accuracies after six random trainings, the
    mean of eight draws."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(8):
        rows = rng.permutation(len(known))
        trained, others = rows[:6], rows[6:]
        single = accuracies[trained, rng.integers(0, 3, 6)]
        controller = taught(Bayesian(given, **options), given, known[trained], single)
        estimates = controller.estimate(known[others])
        found.append(kendalltau(estimates, accuracies[others].mean(axis=1)).statistic)
    return float(np.mean(found))


def test_blocks_and_log_errors_rank_from_six_trainings():
    """On recorded CIFAR-10 trainings (NAS-Bench-Macro), where the number of blocks has 0.69."""
    known, accuracies = recorded.networks("choose").codes, recorded.accuracies("choose")
    plain = agreement(MACRO, accuracies, known, modelled="accuracy", blocks=False)
    counted = agreement(MACRO, accuracies, known)
    assert counted > 0.6
    assert counted > plain + 0.05


def test_trends_are_scaled_over_the_feasible_networks():
    """A prior that is twice as steep over the networks beyond the target does not matter."""
    target = float(np.quantile(TOY.costs(_every())["macs"], 0.1))

    def prior(codes):
        return TOY.costs(codes)["macs"] ** 2.0

    given = replace(TOY, objective=Objective(target=target), prior=prior)
    points = Points(given, log_macs=True, blocks=True)
    feasible = _every()[given.is_feasible(_every())]
    trends = points.start.split(points(feasible))[1]
    assert trends.shape == (len(feasible), 2)
    assert trends[:, 0].mean() == pytest.approx(0, abs=0.1)
    assert trends[:, 0].std() == pytest.approx(1, abs=0.1)
    assert (trends[:, 1] == 0).all()  # all networks of the toy space have three blocks


def test_where_draws_meet_no_feasible_network_trends_are_scaled_over_the_space():
    given = replace(TOY, objective=Objective(target=1.0), prior=lambda codes: codes.sum(axis=1))
    points = Points(given, log_macs=False, blocks=False)
    trends = points.start.split(points(_every()))[1]
    assert trends.std() == pytest.approx(1, abs=0.1)


def _every():
    return np.array(list(np.ndindex(*(len(d.options) for d in TOY.decisions))))


def test_few_trainings_are_not_explained_by_slopes_of_single_decisions():
    """On recorded ImageNet trainings (Accel-NASBench): 25 of them rank the others better than
    where these slopes begin ten times as variable."""
    evidence = load()
    rows = np.random.default_rng(0).permutation(len(evidence))[:425]
    codes, values = evidence.codes[rows].astype(int), np.log(1 - evidence.accuracy[rows])
    given = problem(SPACE, Objective(target=1e10))
    points = Points(given, log_macs=True, blocks=True)
    slopes = replace(points.start, linear=10 * points.start.linear)

    def agreement_of(start, order):
        trained, others = order[:25], order[25:]
        means, _ = Model(points, start, codes[trained], values[trained])(codes[others])
        return kendalltau(means, values[others]).statistic

    orders = [np.random.default_rng(draw).permutation(len(codes)) for draw in range(6)]
    gains = [agreement_of(points.start, o) - agreement_of(slopes, o) for o in orders]
    assert np.mean(gains) > 0.02


# -- the first networks ---------------------------------------------------------------------------


def test_networks_from_no_model_alternate_until_there_are_twelve():
    controller = Bayesian(TOY)
    spread = [k for k in range(40) if controller._is_spread(k)]
    assert spread == [0, 1, 2, 3, *range(4, 20, 2)]
    guided = Bayesian(replace(TOY, prior=lambda codes: codes.sum(axis=1)))
    assert [k for k in range(40) if guided._is_spread(k)] == [0, 1, 2, 3]
    assert [k for k in range(40) if Bayesian(TOY, first=15)._is_spread(k)] == [*range(15)]


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_first_networks_are_spread_over_the_feasible_costs(kind):
    given = replace(MACRO, objective=Objective(target=60e6, kind=kind))
    costs = np.sort(given.target_cost(feasible_codes(given)))
    for seed in range(4):
        controller, shares = Bayesian(given, first=8), []
        for k in range(8):
            choices = controller.ask(np.random.default_rng((seed, k)))
            row = encode(given.decisions, choices)
            cost = given.target_cost(np.array([row]))[0]
            shares.append(np.searchsorted(costs, cost) / len(costs))
            controller.tell(told(given, row, 0.5))
        assert min(shares) < 0.3
        assert max(shares) > 0.7
        assert 2 <= sum(share < 0.5 for share in shares) <= 6
        assert max(shares) <= 1


@pytest.mark.parametrize(("prior", "first"), [(None, 5), (lambda codes: codes.sum(axis=1), 4)])
def test_four_networks_come_before_the_first_model(prior, first):
    """The first asks do not depend on what was told, and the next one does; without a prior the
    fifth comes from no model either."""
    given = replace(TOY, prior=prior)

    def asked(accuracies):
        controller, rows = Bayesian(given), []
        for k in range(first + 1):
            choices = controller.ask(np.random.default_rng(k))
            rows.append(encode(given.decisions, choices))
            controller.tell(told(given, rows[-1], accuracies(rows[-1])))
        return rows

    low = asked(lambda row: 0.5 + 0.01 * sum(row))
    high = asked(lambda row: 0.9 - 0.01 * sum(row))
    assert low[:first] == high[:first]
    assert low[first] != high[first]


# -- the number of blocks -------------------------------------------------------------------------


def test_shortcuts_are_no_blocks():
    """Neither an identity nor the 1x1 convolution in its place, by tables as by walking."""
    space = NasBenchMacro()
    codes = sample_codes(space.decisions, 50, np.random.default_rng(0))
    counter = space_cost(space)
    np.testing.assert_array_equal(counter.blocks(codes), (codes > 0).sum(axis=1))
    np.testing.assert_array_equal(PerNetworkCost(space).blocks(codes), (codes > 0).sum(axis=1))
