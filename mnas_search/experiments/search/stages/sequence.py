"""The stages of a run, made from its configuration and its journals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from mnas_search.architecture import published
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.latency import Remeasured
from mnas_search.experiments.search.stages.baseline_comparison import BaselineComparison
from mnas_search.experiments.search.stages.finalist_check import FinalistCheck
from mnas_search.experiments.search.stages.replicates import Replicates
from mnas_search.experiments.search.stages.stage import Stage
from mnas_search.nas.asha import Asha
from mnas_search.nas.core import Search
from mnas_search.nas.evaluator import Evaluator, is_noisy
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Trial


@final
class SearchStage(Stage):
    """A search, by the controller or at random."""

    def __init__(self, title: str, evaluator: Evaluator, search: Search) -> None:
        super().__init__(title, evaluator)
        self.search = search

    @property
    def queue(self) -> Search:
        """The search."""
        return self.search


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages of a run.

    Attributes:
        search: what everything starts with.
        replicates: for the noise between seeds.
        random_baseline: a random search of the same budget; None where none was asked for.
        check: of a search by predictions.
        comparison: of a search that trained its candidates on data.
        remeasured: latencies of the best networks, where latency is bounded.
    """

    search: SearchStage
    replicates: Replicates
    random_baseline: SearchStage | None
    check: FinalistCheck | None
    comparison: BaselineComparison | None
    remeasured: Remeasured

    @property
    def searching(self) -> tuple[Stage, ...]:
        """The first stages in sequence, all of the search's evaluator."""
        first = (self.search, self.replicates, self.random_baseline)
        return tuple(stage for stage in first if stage is not None)

    @property
    def final(self) -> tuple[Stage, ...]:
        """The stages that follow where the search has a winner, in sequence."""
        return tuple(stage for stage in (self.check, self.comparison) if stage is not None)


def make_stages(
    setup: Setup,
    journal: Events,
    random_journal: Events | None,
    deadline: float,
    on_trial: Callable[[Trial], None],
) -> Stages:
    """Make the stages of a run, with everything that the journals hold replayed."""
    trials, seed = setup.config.trials, setup.config.seed
    assert trials is not None  # Setup leaves nothing open
    search = Search(
        space=setup.space,
        objective=setup.objective,
        cost_model=setup.cost_model,
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
    drawn = None
    if random_journal is not None:
        drawn = Search(
            space=setup.space,
            objective=setup.objective,
            cost_model=setup.cost_model,
            controller=setup.random_controller(),
            trials=trials,
            seed=seed,
            journal=random_journal,
        )
    return Stages(
        search=SearchStage("searching", setup.evaluator, search),
        replicates=Replicates(search, setup.evaluator, count=count, seed=seed, journal=journal),
        random_baseline=(
            None if drawn is None else SearchStage("searching at random", setup.evaluator, drawn)
        ),
        check=_check(setup, search, journal),
        comparison=_comparison(setup, search, drawn, journal),
        remeasured=Remeasured(journal),
    )


def _check(setup: Setup, search: Search, journal: Events) -> FinalistCheck | None:
    if setup.check is None:
        return None
    return FinalistCheck(
        search,
        setup.objective,
        searched=setup.evaluator,
        check=setup.check,
        trainer=setup.trainer,
        baseline=published.architecture("efficientnet_b0"),
        seed=setup.config.seed,
        journal=journal,
    )


def _comparison(
    setup: Setup, search: Search, random_baseline: Search | None, journal: Events
) -> BaselineComparison | None:
    if setup.tested is None or setup.check is not None:
        return None
    return BaselineComparison(
        search,
        setup.objective,
        baselines=setup.baselines(),
        random_baseline=random_baseline,
        evaluator=setup.tested,
        seed=setup.config.seed,
        journal=journal,
    )
