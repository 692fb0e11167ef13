"""Conformance suites: what every plug-in of a kind must do, to be inherited by its own tests.

    class TestMine(ControllerContract):
        @pytest.fixture
        def controller(self):
            return MyController          # called with a Problem

The suites need pytest (`pip install mnas-search[test]`). They run on small networks and a toy
accuracy, in seconds; an exporter's run for as long as some ten of its exports take.
"""

from mnas_search.testing.controllers import ControllerContract, MakeController
from mnas_search.testing.evaluators import EvaluatorContract
from mnas_search.testing.exporters import ExporterContract
from mnas_search.testing.search_spaces import SearchSpaceContract
from mnas_search.testing.toy import ToySpace, toy_accuracy

__all__ = [
    "ControllerContract",
    "EvaluatorContract",
    "ExporterContract",
    "MakeController",
    "SearchSpaceContract",
    "ToySpace",
    "toy_accuracy",
]
