"""The passive core: budget, duplicates, failures, resume."""

import json

import numpy as np
import pytest
from toy_search import OBJECTIVE, Scripted, codes_of, finish, make

from mnas_search.architecture.cost.count import cost
from mnas_search.common.errors import InvalidChoices, RunFolderError, UsageError
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.experiments.search.stages.replicates import Replicates
from mnas_search.nas.core import MOST_DUPLICATES, Search, training_seed
from mnas_search.nas.job import SequentialQueue, TimedQueue, check
from mnas_search.nas.journal import Journal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.choices import Decision
from mnas_search.nas.trial import Evaluation, Failure
from mnas_search.testing import ToySpace, toy_accuracy


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def test_budget_counts_distinct_networks_in_flight_too(path):
    with Journal(path) as journal:
        search = make(journal, Scripted(codes_of(*range(9))), trials=3)
        work = [search.next() for _ in range(4)]
        assert work[3] is None
        assert not search.finished
        for piece in work[:3]:
            finish(search, piece)
        assert search.finished
        assert search.next() is None
        assert [t.number for t in search.trials] == [0, 1, 2]


def test_a_failed_trial_counts_and_is_told_with_its_reason(path):
    controller = Scripted(codes_of(0, 1))
    with Journal(path) as journal:
        search = make(journal, controller, trials=1)
        search.record(search.next(), Failure(reason="ValueError: no"), 0.5)
        assert search.finished
    (trial,) = controller.told
    assert (trial.status, trial.error, trial.accuracy, trial.reward) == (
        "failed",
        "ValueError: no",
        None,
        None,
    )
    assert events(path)[-1]["error"] == "ValueError: no"


def test_duplicates_are_not_trained_and_are_told_when_their_original_is(path):
    controller = Scripted(codes_of(4, 4, 4, 7, 4, 8))
    with Journal(path) as journal:
        search = make(journal, controller, trials=3)
        first, second = search.next(), search.next()
        assert (first.number, second.number) == (0, 3)
        finish(search, first)
        assert [t.number for t in controller.told] == [0, 1, 2]
        assert {t.accuracy for t in controller.told} == {controller.told[0].accuracy}
        third = search.next()
        assert third.number == 5
        assert [t.number for t in controller.told] == [0, 1, 2, 4]
        assert [t.duplicate_of for t in controller.told] == [None, 0, 0, 0]
        assert [t.number for t in search.trials] == [0]
    asks = [e for e in events(path) if e["event"] == "ask"]
    assert [e["duplicate_of"] for e in asks] == [None, 0, 0, None, 0, None]


def test_a_thousand_duplicates_in_a_row_end_the_search(path):
    controller = Scripted(codes_of(*([1] * (MOST_DUPLICATES + 1))))
    with Journal(path) as journal:
        search = make(journal, controller, trials=2)
        finish(search, search.next())
        assert search.next() is None
        assert search.exhausted
        assert search.finished
        assert search.asked == MOST_DUPLICATES + 1
    with Journal(path) as journal:
        again = make(journal, Scripted([]), trials=5)
        assert again.exhausted


def test_the_whole_toy_space_is_found_and_then_it_is_exhausted(path):
    with Journal(path) as journal:
        given = problem(ToySpace(), Objective(target=1e9))
        search = Search(
            space=ToySpace(),
            objective=given.objective,
            controller=RandomSearch(given),
            trials=10_000,
            seed=0,
            journal=journal,
        )
        while (work := search.next()) is not None:
            finish(search, work)
        assert search.exhausted
        assert len(search.trials) == 216


def test_the_end_of_the_time_ends_the_asking_and_not_the_work(path):
    with Journal(path) as journal:
        time_is_left = [True]
        scripted = Scripted(codes_of(0, 1, 2))
        search = make(journal, scripted, has_time=lambda: time_is_left[0], trials=3)
        work = search.next()
        time_is_left[0] = False
        assert search.next() is None
        assert not search.finished
        finish(search, work)
        assert search.finished


def test_seeds_come_from_run_and_network_alone(path):
    assert training_seed(0, "a") == training_seed(0, "a")
    assert len({training_seed(s, f, r) for s in (0, 1) for f in "ab" for r in (0, 1)}) == 8
    assert all(0 <= training_seed(s, "x") < 2**31 for s in range(100))
    with Journal(path) as journal:
        work = make(journal, Scripted(codes_of(3))).next()
        assert work.seed == training_seed(0, work.network.fingerprint)


def test_resume_hands_out_what_was_in_flight_and_asks_nothing_anew(path):
    with Journal(path) as journal:
        search = make(journal, Scripted(codes_of(0, 1, 2, 1, 3)), trials=4)
        works = [search.next() for _ in range(3)]
        finish(search, works[1])
        before = events(path)
    controller = Scripted(codes_of(0, 1, 2, 1, 3))
    with Journal(path) as journal:
        search = make(journal, controller, trials=4)
        assert controller.asked == 3
        assert controller.resumed == codes_of(0, 1, 2)
        assert [t.number for t in controller.told] == [1]
        assert [search.next().number, search.next().number] == [0, 2]
        last = search.next()  # the duplicate of 1 is told at once
        assert last.number == 4
        assert events(path)[: len(before)] == before
        assert [t.number for t in controller.told] == [1, 3]


def test_resume_tells_duplicates_whose_tell_was_lost(path):
    with Journal(path) as journal:
        search = make(journal, Scripted(codes_of(0, 0, 0, 1)), trials=2)
        first, _ = search.next(), search.next()
        finish(search, first)
    lines = path.read_text().splitlines(keepends=True)
    assert json.loads(lines[-1])["trial"] == 2
    path.write_text("".join(lines[:-2]))  # the tells of both duplicates
    controller = Scripted(codes_of(0, 0, 0, 1, 2))
    with Journal(path) as journal:
        assert make(journal, controller, trials=2).next().number == 3
        assert [t.number for t in controller.told] == [0, 1, 2]


def test_a_torn_last_line_is_cut_and_complete_lines_never_change(path):
    with Journal(path) as journal:
        journal.append({"event": "one"})
        journal.append({"event": "two"}, sync=True)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "thr')
    with Journal(path) as journal:
        assert [e["event"] for e in journal.events] == ["one", "two"]
        journal.append({"event": "three"})
    assert path.read_bytes().startswith(whole)
    assert [e["event"] for e in events(path)] == ["one", "two", "three"]


def test_a_changed_line_is_refused_and_kept(path):
    path.write_text('{"event": "one", "time": 1}\nnonsense\n{"event": "two", "time": 2}\n')
    with pytest.raises(RunFolderError, match="line 2"):
        Journal(path)
    assert "nonsense" in path.read_text()


def test_a_second_writer_is_refused(path):
    with Journal(path), pytest.raises(RunFolderError, match="in use"):
        Journal(path)
    Journal(path).close()


def test_repeats_measure_the_noise_and_survive_a_resume(path):
    with Journal(path) as journal:
        search = make(journal, Scripted(codes_of(*range(8))), trials=8)
        repeats = Replicates(search, count=lambda: 4, seed=0, journal=journal)
        work = TimedQueue(SequentialQueue([search, repeats.queue]))
        handed = []
        while (piece := work.next()) is not None:
            handed.append(piece)
            noise = 0.02 if len(handed) > 8 else 0.0
            accuracy = toy_accuracy(search.choices(piece)) + noise
            work.record(piece, Evaluation(accuracy=accuracy), 2.0)
            if len(handed) == 10:
                break
        assert [p.number for p in handed[8:]] == [0, 2]
        assert handed[8].seed != handed[0].seed
        assert work.busy == 20.0
        assert repeats.noise == pytest.approx(0.02 / np.sqrt(2))
    with Journal(path) as journal:
        search = make(journal, Scripted(codes_of(*range(8))), trials=8)
        repeats = Replicates(search, count=lambda: 4, seed=0, journal=journal)
        assert search.finished
        again = repeats.queue
        assert [again.next().number, again.next().number, again.next()] == [5, 7, None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1, 93.0])
def test_an_accuracy_that_is_no_fraction_is_a_failure(value):
    assert isinstance(check(Evaluation(accuracy=value)), Failure)


def test_a_controller_that_errs_is_told_where(path):
    class Wrong(Scripted):
        def ask(self, rng):
            return {**super().ask(rng), "s0.width": 17}

    with (
        Journal(path) as journal,
        pytest.raises(ValueError, match=r"s0\.width must be .*, got 17"),
    ):
        make(journal, Wrong(codes_of(0))).next()


@pytest.mark.parametrize("means", [[float("nan")], [0.5, 0.5], [float("inf")]])
def test_estimates_are_finite_and_one_for_each_network(path, means):
    class Wrong(Scripted):
        def estimate(self, codes):
            return np.array(means)

    with Journal(path) as journal:
        search = make(journal, Wrong(codes_of(5)), trials=1)
        finish(search, search.next())
        with pytest.raises(UsageError, match="estimate must give 1 finite numbers, got array"):
            search.estimates()


def test_options_that_no_journal_can_hold_are_refused():
    with pytest.raises(InvalidChoices, match="must be booleans, finite numbers or strings"):
        Decision(name="x", options=(1.0, float("inf")))


def test_decisions_tell_booleans_from_numbers():
    decision = Decision(name="x", options=(0, 1, True))
    assert [decision.code(o) for o in (0, 1, True)] == [0, 1, 2]


def test_trials_carry_exact_cost(path):
    with Journal(path) as journal:
        search = make(journal, Scripted(codes_of(5)), trials=1)
        work = search.next()
        finish(search, work)
        (trial,) = search.trials
        counted = cost(work.network)
        assert (trial.macs, trial.params) == (counted.macs, counted.params)
        assert trial.reward == OBJECTIVE.reward(trial.accuracy, counted.macs)
