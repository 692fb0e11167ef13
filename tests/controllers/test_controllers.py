import json
from pathlib import Path

import numpy as np
import pytest
from strategies import SPACES

from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.trial import Trial
from mnas_search.testing import ControllerContract

CONTROLLERS = [p.name for p in plugins.installed("controllers")]


@pytest.mark.parametrize("name", CONTROLLERS)
class TestEveryController(ControllerContract):
    @pytest.fixture
    def controller(self, name):
        return plugins.load("controllers", name)


GOLDEN = Path(__file__).parents[1] / "golden" / "asks.json"


@pytest.mark.parametrize("name", CONTROLLERS)
def test_first_asks_are_as_recorded(name):
    """The golden file holds its own configuration; only untold asks, which no fit touches."""
    golden = json.loads(GOLDEN.read_text())
    space = SPACES[golden["space"]]
    given = problem(space, Objective(target=golden["target"]))
    controller = plugins.load("controllers", name)(given)
    asked = [
        [d.code(choices[d.name]) for d in space.decisions]
        for k in range(golden["asks"])
        if (choices := controller.ask(np.random.default_rng((golden["seed"], k))))
    ]
    assert asked == golden["codes"][name]


def test_random_search_is_short_enough_to_be_the_tutorial():
    import mnas_search.controllers.random_search as module

    assert len(Path(module.__file__).read_text().splitlines()) <= 60


def test_random_search_draws_uniformly_within_the_target():
    """Over a space small enough to list: chi-square at 0.001, so one false alarm in 1,000."""
    from scipy.stats import chisquare

    from mnas_search.controllers.random_search import RandomSearch
    from mnas_search.nas.space.choices import encode, sizes
    from mnas_search.testing import ToySpace

    space = ToySpace()
    given = problem(space, Objective(target=380e3))
    every = np.array(list(np.ndindex(*sizes(space.decisions))))
    allowed = every[given.costs(every)["macs"] <= 380e3]
    controller = RandomSearch(given)
    seen = {tuple(row): 0 for row in allowed}
    for k in range(40 * len(allowed)):
        seen[encode(space.decisions, controller.ask(np.random.default_rng((7, k))))] += 1
    assert 10 < len(allowed) < len(every)
    assert chisquare(list(seen.values())).pvalue > 0.001


def test_random_search_takes_the_cheapest_where_nothing_is_within():
    from mnas_search.controllers.random_search import RandomSearch
    from mnas_search.nas.space.choices import encode

    space = SPACES["efficientnet"]
    given = problem(space, Objective(target=1.0))
    codes = np.array([encode(space.decisions, RandomSearch(given).ask(np.random.default_rng(0)))])
    assert given.costs(codes)["macs"][0] < 120e6


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("field", ["accuracy", "reward"])
def test_nan_cannot_be_told(name, field):
    """It is refused where the trial is made, and the controller continues as before."""
    space = SPACES["efficientnet"]
    controller = plugins.load("controllers", name)(problem(space, Objective(target=400e6)))
    choices = controller.ask(np.random.default_rng(0))
    values = {"accuracy": 0.5, "reward": 0.5, field: float("nan")}
    with pytest.raises(UsageError, match=f"{field} of trial 0 must be a number .*, got nan"):
        controller.tell(
            Trial(
                number=0,
                choices=choices,
                fingerprint="x",
                status="ok",
                costs={"macs": 1, "params": 1},
                feasible=True,
                seconds=0.0,
                **values,
            )
        )
    controller.ask(np.random.default_rng(1))
