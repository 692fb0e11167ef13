"""The parts of a run, made from what it is asked for and from its journals."""

from collections.abc import Callable
from dataclasses import dataclass

from mnas_search.architecture import published
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.latency import Remeasured
from mnas_search.experiments.search.stages.baseline_comparison import BaselineComparison
from mnas_search.experiments.search.stages.finalist_check import FinalistCheck
from mnas_search.experiments.search.stages.replicates import Replicates
from mnas_search.nas.asha import Asha
from mnas_search.nas.core import Search
from mnas_search.nas.evaluator import is_noisy
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a run.

    Attributes:
        search: what everything starts with.
        repeats: for the seed noise.
        rival: a random search of the same budget; None where none was asked for.
        finals: of a search by predictions.
        verdict: of a search that trained its candidates on data.
        remeasured: latencies of the best networks, where latency is bounded.
    """

    search: Search
    repeats: Replicates
    rival: Search | None
    finals: FinalistCheck | None
    verdict: BaselineComparison | None
    remeasured: Remeasured


def assemble(
    setup: Setup,
    journal: Events,
    rival_journal: Events | None,
    deadline: float,
    on_trial: Callable[[Trial], None],
) -> Parts:
    """The parts of a run, with all that the journals hold taken back."""
    trials, seed = setup.config.trials, setup.config.seed
    assert trials is not None  # Setup leaves nothing open
    search = Search(
        space=setup.space,
        objective=setup.objective,
        controller=setup.controller(),
        trials=trials,
        seed=seed,
        journal=journal,
        deadline=deadline,
        stopping=None if setup.config.early_stopping is None else Asha(),
        on_trial=on_trial,
    )
    # One trial in six, so that the noise costs little beside the search.
    count = max(2, min(8, trials // 6)) if is_noisy(setup.evaluator) else 0
    repeats = Replicates(search, count=count, seed=seed, journal=journal)
    rival = None
    if rival_journal is not None:
        rival = Search(
            space=setup.space,
            objective=setup.objective,
            controller=setup.random_controller(),
            trials=trials,
            seed=seed,
            journal=rival_journal,
        )
    return Parts(
        search=search,
        repeats=repeats,
        rival=rival,
        finals=_finals(setup, search, journal),
        verdict=_verdict(setup, search, rival, journal),
        remeasured=Remeasured(journal),
    )


def _finals(setup: Setup, search: Search, journal: Events) -> FinalistCheck | None:
    if setup.check is None:
        return None
    return FinalistCheck(
        search,
        setup.objective,
        searched=setup.evaluator,
        check=setup.check,
        baseline=published.architecture("efficientnet_b0"),
        seed=setup.config.seed,
        journal=journal,
    )


def _verdict(
    setup: Setup, search: Search, rival: Search | None, journal: Events
) -> BaselineComparison | None:
    if setup.tested is None:
        return None
    return BaselineComparison(
        search,
        setup.objective,
        baselines=setup.baselines(),
        rival=rival,
        seed=setup.config.seed,
        journal=journal,
    )
