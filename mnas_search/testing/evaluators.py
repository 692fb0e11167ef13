"""What every evaluator must do."""

import pickle
from collections.abc import Generator
from itertools import pairwise

import pytest

from mnas_search.architecture.traced_network import Network
from mnas_search.nas.evaluator import Evaluator, Resources, SupportsIntermediateReports
from mnas_search.nas.job import check
from mnas_search.nas.trial import Evaluation


class EvaluatorContract:
    """What every evaluator must do. Inherit it; give the fixtures `evaluator` and `network`."""

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        """Return the evaluator; to be overridden."""
        raise NotImplementedError("give a fixture `evaluator`")

    @pytest.fixture
    def network(self) -> Network:
        """Return a network that it can evaluate quickly; to be overridden."""
        raise NotImplementedError("give a fixture `network`")

    def test_resources(self, evaluator: Evaluator) -> None:
        """None, or a `Resources`."""
        assert evaluator.resources is None or isinstance(evaluator.resources, Resources)

    def test_it_travels(self, evaluator: Evaluator) -> None:
        """Pickle takes it to a worker."""
        assert isinstance(pickle.loads(pickle.dumps(evaluator)), type(evaluator))

    def test_same_seed_same_accuracy(self, evaluator: Evaluator, network: Network) -> None:
        """To the last bit, and a fraction."""
        one, two = (list(evaluator.evaluate(network, seed=3)) for _ in range(2))
        assert [e.accuracy for e in one] == [e.accuracy for e in two]
        assert one
        assert all(isinstance(check(e), Evaluation) for e in one)

    def test_rungs_change_no_result(self, evaluator: Evaluator, network: Network) -> None:
        """Measured on its way, ever further, an evaluation ends as it would have."""
        stoppable = _stoppable(evaluator)
        *way, result = stoppable.evaluate(network, seed=3)
        *_, plain = evaluator.evaluate(network, seed=3)
        assert result.accuracy == plain.accuracy
        assert result.rung is None
        rungs = [e.rung or 0 for e in way]
        assert rungs[0] >= 1
        assert all(later >= 3 * rung for rung, later in pairwise(rungs))

    def test_it_can_be_cut_off(self, evaluator: Evaluator, network: Network) -> None:
        """At its first rung, and evaluated anew afterwards."""
        stoppable = _stoppable(evaluator)
        one, two = (_first(stoppable, network) for _ in range(2))
        assert one == two


def _stoppable(evaluator: Evaluator) -> Evaluator:
    if isinstance(evaluator, SupportsIntermediateReports):
        stoppable = evaluator.with_intermediate_reports(3)
        if stoppable is not None:
            return stoppable
    pytest.skip("has no rungs")


def _first(evaluator: Evaluator, network: Network) -> float:
    evaluations = evaluator.evaluate(network, seed=3)
    accuracy = next(evaluations).accuracy
    if isinstance(evaluations, Generator):
        evaluations.close()
    return accuracy
