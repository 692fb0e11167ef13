"""The stages of a run, made from its configuration and its journals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

from mnas_search.architecture import published
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.latency import Remeasured
from mnas_search.experiments.search.stages.baseline_comparison import (
    TOP,
    TRAININGS,
    BaselineComparison,
)
from mnas_search.experiments.search.stages.finalist_check import FinalistCheck
from mnas_search.experiments.search.stages.held_out import HeldOutTest
from mnas_search.experiments.search.stages.replicates import Replicates
from mnas_search.experiments.search.stages.trainings import Stage
from mnas_search.experiments.search.time_limit import TimeLimit
from mnas_search.nas.asha import Asha
from mnas_search.nas.core import Search
from mnas_search.nas.evaluator import is_noisy
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Evaluation, Trial

_TESTED = 2  # networks on the test split
_CHECK = 30.0  # seconds that are kept for the finalists' short trainings on digits


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages of a run.

    Attributes:
        searching: the first stages in sequence, all of the search's evaluator.
        final: the stages that follow where the search has a winner, in sequence.
        search, replicates, check, comparison, test: of these stages; a search by predictions has a
            check, and one that trained its candidates on data a comparison and a test.
        remeasured: latencies of the best networks, where latency is bounded.
        limit: the run's time.
    """

    searching: tuple[Stage, ...]
    final: tuple[Stage, ...]
    search: Search
    replicates: Replicates
    check: FinalistCheck | None
    comparison: BaselineComparison | None
    test: HeldOutTest | None
    remeasured: Remeasured
    limit: TimeLimit


def trainings_after(baselines: int) -> int:
    """Return the number of trainings of a comparison with this number of baselines, and of the
    test of the two networks that it chooses."""
    return (TOP + baselines + _TESTED) * TRAININGS


def make_stages(
    setup: Setup,
    journal: Events,
    random_journal: Events | None,
    limit: TimeLimit,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    on_rung: Callable[[int, Evaluation], None] = lambda trial, evaluation: None,
    answers: Events | None = None,
) -> Stages:
    """Make the stages of a run, with everything that the journals hold replayed; `answers` is the
    journal of second opinions, where they are kept."""
    config, objective, evaluator = setup.config, setup.objective, setup.evaluator
    trials, seed = config.trials, config.seed
    assert trials is not None  # Setup leaves nothing open
    make_search = partial(
        Search,
        space=setup.space,
        objective=objective,
        cost_model=setup.cost_model,
        trials=trials,
        seed=seed,
    )
    baselines = () if setup.tested is None else setup.baselines()
    compared = 0 if setup.tested is None else trainings_after(len(baselines))
    reserved = 0.0 if setup.check is None else _CHECK

    def count() -> int:
        # One trial in six, so that the noise costs little beside the search.
        expected = trials if config.time_budget is None else search.done
        return max(2, min(8, expected // 6)) if is_noisy(evaluator) else 0

    def on_finished(trial: Trial) -> None:
        limit.record(trial)
        on_trial(trial)

    def has_time_to_compare() -> bool:
        assert comparison is not None
        return limit.allows_comparison(comparison.queue.remaining + _TESTED * TRAININGS)

    search = make_search(
        controller=setup.controller(),
        journal=journal,
        has_time=lambda: limit.allows_candidate(count(), compared, reserved),
        stopping=None if config.early_stopping is None else Asha(),
        on_trial=on_finished,
        on_rung=on_rung,
    )
    replicates = Replicates(
        search, count=count, seed=seed, journal=journal, has_time=lambda: not limit.is_late
    )
    title = "training some networks again, with other seeds"
    searching = [Stage("", evaluator, search), Stage(title, evaluator, replicates.queue)]
    drawn = None
    if random_journal is not None:
        drawn = make_search(controller=setup.random_controller(), journal=random_journal)
        searching.append(Stage("searching at random", evaluator, drawn))
    check, test, following = None, None, []
    comparison: BaselineComparison | None = None
    if setup.check is not None:
        check = FinalistCheck(
            search,
            objective,
            searched=evaluator,
            check=setup.check,
            baseline=published.architecture("efficientnet_b0"),
            seed=seed,
            journal=journal,
            answers=answers,
        )
        title = "training the finalists, to see that they train"
        following.append(Stage(title, setup.trainer, check.queue))
    elif setup.tested is not None:
        comparison = BaselineComparison(
            search,
            objective,
            baselines=baselines,
            random_baseline=drawn,
            seed=seed,
            journal=journal,
            has_time=has_time_to_compare,
        )
        title = "training the best candidates and the baselines, with other seeds"
        searching.append(Stage(title, evaluator, comparison.queue))
        test = HeldOutTest(
            comparison, seed=seed, journal=journal, has_time=lambda: not limit.is_late
        )
        title = "testing the recommended network and the best baseline, with other seeds again"
        following.append(Stage(title, setup.tested, test.queue))
    return Stages(
        searching=tuple(searching),
        final=tuple(following),
        search=search,
        replicates=replicates,
        check=check,
        comparison=comparison,
        test=test,
        remeasured=Remeasured(journal),
        limit=limit,
    )
