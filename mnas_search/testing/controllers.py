"""What every controller must do."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnas_search.nas.controller import Controller
from mnas_search.nas.core import Search
from mnas_search.nas.job import EvaluationJob, Outcome
from mnas_search.nas.journal import Journal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem, problem
from mnas_search.nas.space.choices import Choices, encode, sample
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.trial import Evaluation, Failure, Stopped, Trial
from mnas_search.testing.toy import ToySpace, toy_accuracy

MakeController = Callable[[Problem], Controller]


def _toy_outcome(job: EvaluationJob, choices: Choices) -> Outcome:
    """Return the toy accuracy; every seventh trial fails, every fifth is stopped early."""
    if job.number % 7 == 6:
        return Failure(reason="made to fail")
    if job.number % 5 == 3:
        return Stopped(evaluation=Evaluation(accuracy=1.0, rung=1))
    return Evaluation(accuracy=toy_accuracy(choices))


class ControllerContract:
    """What every controller must do. Inherit it and give the fixture `controller`."""

    space: SearchSpace = ToySpace()
    objective = Objective(target=400e3)
    limited = Objective(target=400e3, max_params=40e3, max_memory=200e3)

    @pytest.fixture
    def controller(self) -> MakeController:
        """Return what makes the controller from a `Problem`; to be overridden."""
        raise NotImplementedError("give a fixture `controller`")

    def problem(self) -> Problem:
        """Return the toy problem."""
        return problem(self.space, self.objective)

    def test_asks_are_valid_choices(self, controller: MakeController) -> None:
        """Before anything is told, and after."""
        for choices in _history(controller, self.problem(), 30):
            encode(self.problem().decisions, choices)

    def test_same_events_same_asks(self, controller: MakeController) -> None:
        """Check that the generator passed in is the only source of randomness."""
        assert _history(controller, self.problem(), 25) == _history(controller, self.problem(), 25)

    def test_asks_differ_by_seed(self, controller: MakeController) -> None:
        """Another generator, other asks."""
        one = _history(controller, self.problem(), 10, seed=0)
        two = _history(controller, self.problem(), 10, seed=1)
        assert one != two

    def test_many_in_flight(self, controller: MakeController) -> None:
        """Asks need no tells; tells may come late and in any order."""
        own, given = controller(self.problem()), self.problem()
        asked = [own.ask(np.random.default_rng((0, n))) for n in range(16)]
        for number in reversed(range(16)):
            own.tell(_finished(given, number, asked[number]))
        encode(given.decisions, own.ask(np.random.default_rng(99)))

    def test_tells_that_were_never_asked(self, controller: MakeController) -> None:
        """A warm start."""
        own, given = controller(self.problem()), self.problem()
        rng = np.random.default_rng(0)
        for number in range(20):
            own.tell(_finished(given, number, sample(given.decisions, rng)))
        encode(given.decisions, own.ask(np.random.default_rng(1)))

    def test_failures_are_taken(self, controller: MakeController) -> None:
        """A search in which every trial fails continues."""
        _history(controller, self.problem(), 25, outcome=_failed)

    def test_stopped_are_taken(self, controller: MakeController) -> None:
        """A search in which every trial is stopped early continues."""
        _history(controller, self.problem(), 25, outcome=_stopped)

    def test_stopped_are_no_results(self, controller: MakeController) -> None:
        """A stopped trial's accuracy is not used as a result."""
        stopped, failed = controller(self.problem()), controller(self.problem())
        given, rng = self.problem(), np.random.default_rng(0)
        codes = []
        for number in range(18):
            choices = sample(given.decisions, rng)
            codes.append(encode(given.decisions, choices))
            trial = _finished(given, number, choices)
            stopped.tell(_stopped(trial) if number % 3 else trial)
            failed.tell(_failed(trial) if number % 3 else trial)
        one, two = (each.estimate(np.array(codes)) for each in (stopped, failed))
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            np.testing.assert_array_equal(one, two)

    def test_resumed_is_uninterrupted(self, controller: MakeController, tmp_path: Path) -> None:
        """A search cut anywhere and replayed from its journal asks what it would have asked."""
        whole = _journal(self, controller, tmp_path / "whole", 20)
        lines = (tmp_path / "whole" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        for cut in (1, 2, 7, len(whole) // 2, len(whole) - 1):
            folder = tmp_path / f"cut-{cut}"
            folder.mkdir()
            text = "".join(f"{line}\n" for line in lines[:cut])
            (folder / "journal.jsonl").write_text(text, encoding="utf-8")
            assert _journal(self, controller, folder, 20) == whole, f"cut after {cut} events"

    def test_limits_beside_the_target(self, controller: MakeController) -> None:
        """Where params and memory are limited too, most asks after a start keep all limits."""
        tight = problem(self.space, self.limited)
        _assert_mostly_feasible(tight, _history(controller, tight, 40))

    def test_nothing_unreachable_is_asked_for_long(self, controller: MakeController) -> None:
        """Under a tight target, most asks after a start are within it."""
        tight = replace(self.problem(), objective=Objective(target=330e3))
        _assert_mostly_feasible(tight, _history(controller, tight, 60))


def _assert_mostly_feasible(given: Problem, history: list[dict[str, Any]]) -> None:
    feasible = given.is_feasible(np.array([encode(given.decisions, c) for c in history[-20:]]))
    assert feasible.sum() >= 10, (
        f"{feasible.sum()} of the last 20 asks are feasible; Problem.is_feasible tells"
    )


def _finished(given: Problem, number: int, choices: Choices) -> Trial:
    codes = np.array([encode(given.decisions, choices)])
    costs = {name: int(found[0]) for name, found in given.costs(codes).items()}
    accuracy = toy_accuracy(choices)
    return Trial(
        number=number,
        choices=choices,
        fingerprint=str(encode(given.decisions, choices)),
        status="ok",
        accuracy=accuracy,
        costs=costs,
        reward=given.objective.reward_of(accuracy, costs),
        feasible=given.objective.is_feasible(costs),
        seconds=0.0,
    )


def _failed(trial: Trial) -> Trial:
    return replace(trial, status="failed", accuracy=None, reward=None, error="made to fail")


def _stopped(trial: Trial) -> Trial:
    return replace(trial, status="stopped", accuracy=1.0, reward=None, rung=1)


def _history(
    controller: MakeController,
    given: Problem,
    count: int,
    *,
    seed: int = 0,
    outcome: Callable[[Trial], Trial] = lambda trial: trial,
) -> list[dict[str, Any]]:
    own, asked = controller(given), []
    for number in range(count):
        choices = own.ask(np.random.default_rng((seed, number)))
        asked.append(dict(choices))
        own.tell(outcome(_finished(given, number, choices)))
    return asked


def _journal(
    suite: ControllerContract, controller: MakeController, folder: Path, trials: int
) -> list[dict[str, Any]]:
    """Return the events, without times, of a search with two jobs in flight."""
    folder.mkdir(exist_ok=True)
    with Journal(folder / "journal.jsonl") as journal:
        search = Search(
            space=suite.space,
            objective=suite.objective,
            controller=controller(suite.problem()),
            trials=trials,
            seed=0,
            journal=journal,
        )
        open_jobs: list[EvaluationJob] = []
        while True:
            while len(open_jobs) < 2 and (job := search.next()) is not None:
                open_jobs.append(job)
            if not open_jobs:
                break
            # The elder first, so that the order of tells does not depend on where it was cut.
            job = min(open_jobs, key=lambda j: j.number)
            open_jobs.remove(job)
            choices = search.choices(job)
            search.record(job, _toy_outcome(job, choices), 0.0)
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        event.pop("time", None)
    return events
