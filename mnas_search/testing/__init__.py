"""Conformance suites: what every plug-in of a kind must do, to be inherited by its own tests.

    class TestMine(ControllerContract):
        @pytest.fixture
        def controller(self):
            return MyController          # called with a Problem

The suites need pytest (`pip install mnas-search[test]`). They run on small networks and a toy
accuracy, in seconds; an exporter's run for as long as some ten of its exports take.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mnas_search.testing.toy import ToySpace, toy_accuracy

if TYPE_CHECKING:
    from mnas_search.testing.controllers import ControllerContract, MakeController
    from mnas_search.testing.evaluators import EvaluatorContract
    from mnas_search.testing.exporters import ExporterContract
    from mnas_search.testing.search_spaces import SearchSpaceContract

__all__ = [
    "ControllerContract",
    "EvaluatorContract",
    "ExporterContract",
    "MakeController",
    "SearchSpaceContract",
    "ToySpace",
    "toy_accuracy",
]

_SUITES = {
    "ControllerContract": "controllers",
    "EvaluatorContract": "evaluators",
    "ExporterContract": "exporters",
    "MakeController": "controllers",
    "SearchSpaceContract": "search_spaces",
}


def __getattr__(name: str) -> object:
    """Load a suite, and pytest with it, when it is first asked for."""
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_SUITES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
