"""The baselines of a fit: which of them is chosen, from trainings that a journal holds."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnas_search.architecture.published import architecture
from mnas_search.experiments.fit.baselines import choose_baseline
from mnas_search.experiments.fit.measuring import Prospect
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.options import RunConfig
from mnas_search.nas.core import training_seed
from mnas_search.nas.journal import MemoryJournal

EVALUATOR = f"{Path(__file__).parents[1] / 'evaluators_for_tests.py'}:by_params"


def prospect(side):
    config = RunConfig(target_flops=4e8, evaluator=EVALUATOR, resolution=side, workers=0)
    networks = tuple(
        replace(architecture(name), resolution=side) for name in ("efficientnet_b0", "mnasnet_a1")
    )
    return Prospect(setup=Setup(config), baselines=networks, networks=networks)


@pytest.fixture(scope="module")
def prospects():
    return prospect(64), prospect(96)


def choose(prospects, journal, *, deadline=math.inf, count=2):
    return choose_baseline(
        prospects,
        count=count,
        seeds=1,
        seed=0,
        deadline=deadline,
        journal=journal,
        listener=Listener(),
    )


def trained(one, index, accuracy, seconds):
    network = one.baselines[index]
    return {
        "event": "baseline",
        "recipe": str(one.resolution),
        "network": network.label,
        "fingerprint": network.fingerprint,
        "seed": training_seed(0, network.fingerprint, repeat=0),
        "accuracy": accuracy,
        "seconds": seconds,
        "error": None if accuracy else "out of memory",
    }


def journal_of(prospects, *accuracies):
    journal, seconds = MemoryJournal(), (10.0, 14.0, 30.0, 50.0)
    places = [(one, index) for one in prospects for index in (0, 1)]
    for (one, index), accuracy, duration in zip(places, accuracies, seconds, strict=True):
        journal.append(trained(one, index, accuracy, duration))
    return journal


def test_the_seconds_are_those_of_the_chosen_resolution(prospects):
    journal = journal_of(prospects, 0.5, 0.8, 0.6, 0.7)
    entry, seconds = choose(prospects, journal)
    assert (entry.prospect, entry.network) == (prospects[0], prospects[0].baselines[1])
    assert (entry.validation, seconds) == ((0.8,), 12.0)
    assert journal.events[-1]["event"] == "chosen"
    entry, seconds = choose(prospects, journal_of(prospects, 0.5, 0.6, 0.9, 0.7))
    assert (entry.prospect.resolution, seconds) == (96, 40.0)


def test_once_chosen_what_failed_is_not_trained_again(prospects):
    journal = journal_of(prospects, None, 1e-3, 2e-3, 1e-3)
    journal.append({"event": "chosen", "network": "efficientnet_b0", "resolution": 96})
    entry, _ = choose(prospects, journal)
    assert (entry.prospect.resolution, entry.mean) == (96, 2e-3)
    assert len(journal.events) == 5
    del journal.events[-1]
    entry, _ = choose(prospects, journal)
    assert entry.mean > 2e-3
    assert [event["event"] for event in journal.events[4:]] == ["baseline", "chosen"]


def test_after_the_deadline_none_is_trained(prospects):
    journal = MemoryJournal()
    entry, seconds = choose(prospects, journal, deadline=time.monotonic() - 1.0)
    assert (entry.network, entry.validation) == (prospects[0].baselines[0], ())
    assert seconds == 0.0
    assert [event["event"] for event in journal.events] == ["chosen"]
    assert choose(prospects, journal)[0] == entry  # in a later session, too
