"""The passive core of a search: it asks the controller, keeps the journal, and can be resumed.

    while (work := search.next()) is not None: search.record(work, outcome, seconds)

Every event is in the journal before it counts. A search constructed over a journal with events
takes them back in their order (the controller's `replay`), proposes nothing anew, and hands out
again what was in flight. Ask k draws from a generator seeded with (run seed, k), and a network's
training seed comes from (run seed, fingerprint): the same events give the same next ask, whoever
trained what, where.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, error_context
from mnas_search.nas.asha import Asha
from mnas_search.nas.controller import Controller, estimates_of
from mnas_search.nas.events import (
    ask_event,
    check_asked,
    check_fingerprint,
    check_trial,
    outcome_results,
    read_asked,
    read_trial,
    results_of,
    rung_event,
    tell_event,
    warm_start_event,
)
from mnas_search.nas.job import EvaluationJob, JobQueue, Outcome
from mnas_search.nas.journal import Events, journal_line
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Choices, canonical, encode
from mnas_search.nas.space.contract import SearchSpace, decode
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.trial import Asked, Evaluation, Trial, rank

_LOG = logging.getLogger(__name__)
MOST_DUPLICATES = 1_000
MOST_STOPPED = 1_000


def training_seed(seed: int, fingerprint: str, repeat: int = 0) -> int:
    """Return the seed in [0, 2^31) of a network's training; `repeat` numbers further ones."""
    digest = hashlib.sha256(f"{seed}/{fingerprint}/{repeat}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def _log(trial: Trial) -> None:
    if trial.status == "failed":
        _LOG.warning("trial %d failed: %s", trial.number, trial.error)
        return
    end = "stopped early" if trial.reward is None else f"reward {trial.reward:.4f}"
    found = trial.number, trial.accuracy, end, trial.seconds
    _LOG.info("trial %d: accuracy %.4f, %s, %.1f s", *found)


@final
class Search(JobQueue[EvaluationJob]):
    """A search over one space with one controller.

    Args:
        space: where the networks come from.
        objective: the reward and the constraints.
        cost_model: counts what the objective bounds; required where that is latency.
        controller: constructed for `problem(space, objective)`, without any history.
        trials: distinct networks to finish, `ok` or `failed`.
        seed: of the run.
        journal: where events go; those it holds already are replayed.
        has_time: whether there is time for one more candidate; asked before each.
        stopping: stops trials at their rungs; None stops none.
        on_trial: called with every newly finished trial that is no duplicate.
        on_rung: called with the number of a trial and what was measured at a rung, each once.
    """

    def __init__(
        self,
        *,
        space: SearchSpace,
        objective: Objective,
        controller: Controller,
        trials: int,
        seed: int,
        journal: Events,
        cost_model: CostModel | None = None,
        has_time: Callable[[], bool] = lambda: True,
        stopping: Asha | None = None,
        on_trial: Callable[[Trial], None] = lambda trial: None,
        on_rung: Callable[[int, Evaluation], None] = lambda trial, evaluation: None,
    ) -> None:
        self._space, self._objective, self._controller = space, objective, controller
        self._cost_model = cost_model or CostModel(metrics=tuple(objective.bounds))
        self._budget, self._seed, self._has_time = trials, seed, has_time
        self._journal, self._stopping = journal, stopping
        self._on_trial, self._on_rung = on_trial, on_rung
        self._asked: list[Asked] = []
        self._trials: dict[int, Trial] = {}  # by number, duplicates included
        self._best: Trial | None = None
        self._estimates: Mapping[int, float] | None = None  # until the next trial
        self._warm: set[int] = set()  # trials of earlier runs
        self._wanted: deque[Choices] = deque()  # to be asked before the controller is
        self._counted = 0  # trials that count against the budget
        self._first: dict[str, int] = {}  # fingerprint -> number of the trial that trains it
        self._waiting: dict[int, list[Asked]] = {}  # duplicates, by the number they wait for
        self._duplicates_in_a_row = 0
        self._stopped_in_a_row = 0
        self._in_flight: set[int] = set()
        self._handed_back: deque[Asked] = deque()
        self._untold: list[Asked] = []  # duplicates whose tell a crash cut off
        self._decoded: dict[int, Network] = {}  # while the journal is replayed, by number
        self._replay()

    def warm_start(self, wanted: Sequence[Choices], known: Sequence[Trial]) -> None:
        """Start a search without events from proposals and trials of earlier runs.

        Args:
            wanted: proposals to try before the controller's own.
            known: finished trials of earlier runs by the same evaluator; the controller learns
                from them, and they can win, but they do not count against the budget.
        """
        for choices in wanted:
            encode(self._space.decisions, choices)
        event = warm_start_event(wanted, known)
        self._journal.append(event, sync=True)  # one line: there whole or not at all
        self._take_warm_start(event)

    # -- what has come out --------------------------------------------------------------------

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Finished trials without duplicates, by number."""
        by_number = sorted(self._trials.items())
        return tuple(trial for _, trial in by_number if trial.duplicate_of is None)

    def trial(self, number: int) -> Trial:
        """Return a finished trial."""
        return self._trials[number]

    @property
    def best(self) -> Trial | None:
        """The largest reward within the constraints."""
        return self._best

    @property
    def done(self) -> int:
        """Number of trials that count against the budget."""
        return self._counted

    @property
    def asked(self) -> int:
        """Number of proposals, duplicates included."""
        return len(self._asked)

    @property
    def exhausted(self) -> bool:
        """Whether the controller proposed nothing new 1,000 times in a row."""
        return self._duplicates_in_a_row >= MOST_DUPLICATES

    @property
    def stalled(self) -> bool:
        """Whether 1,000 trials in a row were stopped early."""
        return self._stopped_in_a_row >= MOST_STOPPED

    @property
    def finished(self) -> bool:
        return not self._in_flight and not self._handed_back and not self._has_room()

    def estimates(self) -> Mapping[int, float]:
        """Return the controller's estimates of the accuracies of `ok` trials, by number; empty
        where it has no opinion."""
        told = [trial for trial in self.trials if trial.status == "ok"]
        if self._estimates is None and told:
            codes = np.array([encode(self._space.decisions, trial.choices) for trial in told])
            means = estimates_of(self._controller, codes)  # may fit a model
            pairs = () if means is None else zip(told, means, strict=True)
            self._estimates = {trial.number: mean for trial, mean in pairs}
        return self._estimates or {}

    def costs(self, network: Network) -> dict[str, float]:
        """Return any network's costs, as those of trials are counted."""
        with error_context("counting the network"):
            return self._cost_model.costs(network)

    def network(self, trial: Trial) -> Network:
        """Return the network of a trial."""
        return self._decode(trial.choices)

    def choices(self, work: EvaluationJob) -> Choices:
        """Return the choices of a job."""
        return self._asked[work.number].choices

    # -- the loop -----------------------------------------------------------------------------

    def next(self) -> EvaluationJob | None:
        """Return the next network to evaluate; None where there is none now."""
        while self._untold:
            self._tell_duplicate(self._untold.pop(0))
        if self._handed_back:
            asked = self._handed_back.popleft()
            return self._hand_out(asked, self._decode(asked.choices))
        while self._has_room():
            asked, network = self._ask()
            if asked.duplicate_of is None:
                self._duplicates_in_a_row = 0
                return self._hand_out(asked, network)
            self._duplicates_in_a_row += 1
            if asked.duplicate_of in self._trials:
                self._tell_duplicate(asked)
            else:
                self._waiting.setdefault(asked.duplicate_of, []).append(asked)
        return None

    def should_continue(self, work: EvaluationJob, evaluation: Evaluation, seconds: float) -> bool:
        """Journal what was measured at a rung, and hold its reward against the others' there."""
        if evaluation.rung is None:
            return True
        if self._stopping is None:
            self._on_rung(work.number, evaluation)
            return True
        reward = self._objective.reward_of(evaluation.accuracy, self.costs(work.network))
        if not self._stopping.has_decided(work.number, evaluation.rung):
            self._journal.append(rung_event(work.number, evaluation, reward, seconds))
            self._on_rung(work.number, evaluation)
        return self._stopping.should_continue(work.number, evaluation.rung, reward)

    def record(self, work: EvaluationJob, outcome: Outcome, seconds: float) -> None:
        """Finish a trial: journal it, then tell the controller, duplicates included."""
        asked = self._asked[work.number]
        costs = self.costs(work.network)
        results = outcome_results(outcome, costs, self._objective, seconds)
        trial = read_trial(asked, results, self._objective)
        self._tell(trial, sync=True)
        _log(trial)
        self._in_flight.discard(work.number)
        for duplicate in self._waiting.pop(work.number, []):
            self._tell_duplicate(duplicate)
        self._on_trial(trial)

    def release(self, work: EvaluationJob) -> None:
        """Take back a trial that was cut off: the journal has its ask, and no tell."""
        self._in_flight.discard(work.number)

    # -- inside -------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        in_work = len(self._in_flight) + len(self._handed_back)
        return (
            self._counted + in_work < self._budget
            and not self.exhausted
            and not self.stalled
            and self._has_time()
        )

    def _ask(self) -> tuple[Asked, Network]:
        number = len(self._asked)
        if self._wanted:
            choices = dict(self._wanted.popleft())
            network = self._decode(choices)
            asked = self._note_ask(choices, network)
            self._take_back(asked)
            return asked, network
        with error_context(f"the controller's ask {number}"):
            proposed = self._controller.ask(np.random.default_rng((self._seed, number)))
            choices = canonical(self._space.decisions, proposed)
        network = self._decode(choices)
        return self._note_ask(choices, network), network

    def _note_ask(self, choices: Choices, network: Network) -> Asked:
        asked = self._asked_of(choices, network)
        self._journal.append(ask_event(asked))
        _LOG.debug("trial %d proposed: %s", asked.number, asked.fingerprint)
        self._note(asked)
        return asked

    def _asked_of(self, choices: Choices, network: Network) -> Asked:
        """Return the next proposal, of these choices."""
        fingerprint = network.fingerprint  # computed anew each time
        return Asked(
            number=len(self._asked),
            choices=choices,
            fingerprint=fingerprint,
            duplicate_of=self._first.get(fingerprint),
            seed=training_seed(self._seed, fingerprint),
        )

    def _decode(self, choices: Choices) -> Network:
        return decode(self._space, choices)

    def _note(self, asked: Asked) -> None:
        self._asked.append(asked)
        self._first.setdefault(asked.fingerprint, asked.number)

    def _hand_out(self, asked: Asked, network: Network) -> EvaluationJob:
        self._in_flight.add(asked.number)
        return EvaluationJob(number=asked.number, network=network, seed=asked.seed)

    def _tell(self, trial: Trial, *, sync: bool) -> None:
        self._journal.append(tell_event(trial), sync=sync)
        self._keep(trial)
        with error_context(f"the controller's tell of trial {trial.number}"):
            self._controller.tell(trial)

    def _keep(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._estimates = None
        if trial.duplicate_of is not None:
            return
        stopped = trial.status == "stopped"
        self._stopped_in_a_row = self._stopped_in_a_row + 1 if stopped else 0
        self._counted += not stopped and trial.number not in self._warm
        if trial.reward is not None and trial.feasible:
            self._best = trial if self._best is None else min(self._best, trial, key=rank)

    def _tell_duplicate(self, asked: Asked) -> None:
        assert asked.duplicate_of is not None
        original = self._trials[asked.duplicate_of]
        _LOG.debug("trial %d repeats trial %d", asked.number, original.number)
        results = results_of(original) | {"seconds": 0.0}
        self._tell(read_trial(asked, results, self._objective), sync=False)

    def _replay(self) -> None:
        for number, event in enumerate(self._journal.events):
            with journal_line(self._journal, number):
                self._replay_event(event)
        self._decoded.clear()
        for asked in self._asked:
            if asked.number in self._trials:
                continue
            if asked.duplicate_of is None:
                self._handed_back.append(asked)
            elif asked.duplicate_of in self._trials:
                self._untold.append(asked)
            else:
                self._waiting.setdefault(asked.duplicate_of, []).append(asked)

    def _replay_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "warm start":
            self._take_warm_start(event)
        elif event["event"] == "ask":
            asked = read_asked(event)
            encode(self._space.decisions, asked.choices)
            network = self._decoded[asked.number] = self._decode(asked.choices)
            check_asked(asked, self._asked_of(asked.choices, network))
            self._note(asked)
            if self._wanted:
                self._wanted.popleft()
            repeated = asked.duplicate_of is not None
            self._duplicates_in_a_row = self._duplicates_in_a_row + 1 if repeated else 0
            self._take_back(asked)
        elif event["event"] == "rung" and self._stopping is not None:
            self._stopping.should_continue(event["trial"], event["rung"], event["reward"])
        elif event["event"] == "tell":
            trial = read_trial(self._asked[event["trial"]], event, self._objective)
            if trial.number in self._trials:
                raise UsageError(f"trial {trial.number} must be told once")
            check_trial(trial, self._counts(trial), self._objective)
            self._keep(trial)
            self._take_back(trial)

    def _take_back(self, event: Asked | Trial) -> None:
        with error_context(f"the controller's replay of trial {event.number}"):
            self._controller.replay(event)

    def _counts(self, trial: Trial) -> dict[str, float]:
        """Return the whole numbers among a trial's costs, counted anew; none for a traced network,
        which would have to be built."""
        if trial.duplicate_of is not None:
            return dict(self._trials[trial.duplicate_of].costs)
        network = self._decoded.pop(trial.number, None) or self._decode(trial.choices)
        if not isinstance(network, Architecture):
            return {}
        costs = self._cost_model.costs(network)
        return {name: cost for name, cost in costs.items() if isinstance(cost, int)}

    def _take_warm_start(self, event: Mapping[str, Any]) -> None:
        for results in event["known"]:
            network = self._decode(results["choices"])
            check_fingerprint(results["fingerprint"], network)
            asked = self._asked_of(results["choices"], network)
            reward = None
            if results["status"] == "ok":  # under this run's target
                reward = self._objective.reward_of(results["accuracy"], results)
            trial = read_trial(asked, {**results, "reward": reward}, self._objective)
            check_trial(trial, self._counts(trial), self._objective)
            self._note(asked)
            self._warm.add(asked.number)
            self._keep(trial)
            self._take_back(asked)
            self._take_back(trial)
        self._wanted.extend(event["wanted"])
