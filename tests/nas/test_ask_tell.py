"""A search in memory."""

import math

import pytest
from toy_search import OBJECTIVE

import mnas_search
from mnas_search.testing import ToySpace, toy_accuracy


def accuracy_of(architecture):
    params = mnas_search.cost(architecture).params
    return params / (params + 3e4)


@pytest.mark.parametrize("controller", ["bayesian", "evolution", "nsga2", "ppo", "tpe"])
def test_the_proposals_are_those_of_a_run(tmp_path, controller):
    options = {"space": ToySpace, "controller": controller, "seed": 3, "objective": "hard"}
    result = mnas_search.search(
        OBJECTIVE.target,
        evaluator=accuracy_of,
        trials=20,
        workers=0,
        output=tmp_path / "run",
        **options,
    )
    study = mnas_search.ask_tell(target_flops="400K", **options)
    for trial in result.trials:
        proposal = study.ask()
        assert (proposal.number, proposal.choices) == (trial.number, trial.choices)
        assert (proposal.architecture.fingerprint, proposal.seed) == (
            trial.fingerprint,
            trial.seed,
        )
        told = study.tell(proposal, accuracy_of(proposal.architecture), seconds=trial.seconds)
        assert told == trial
    assert (study.trials, study.best) == (result.trials, result.best)
    assert study.architecture(study.best).fingerprint == result.architecture.fingerprint


def test_strides_are_dropped_on_small_images_as_in_a_search(tmp_path):
    options = {"space": "efficientnet", "controller": "random_search", "resolution": 32}
    result = mnas_search.search(
        "20M", evaluator=accuracy_of, trials=2, workers=0, output=tmp_path / "run", **options
    )
    study = mnas_search.ask_tell(
        target_flops="20M", num_classes=result.architecture.num_classes, **options
    )
    for trial in result.trials:
        proposal = study.ask()
        assert proposal.architecture.fingerprint == trial.fingerprint
        study.tell(proposal, accuracy_of(proposal.architecture))


def test_several_may_be_open_and_fail():
    study = mnas_search.ask_tell(ToySpace(), OBJECTIVE.target, controller="random_search")
    assert study.best is None
    first, second, third = study.ask(), study.ask(), study.ask()
    assert len({one.architecture.fingerprint for one in (first, second, third)}) == 3
    failed = study.tell(third, None, error="out of memory")
    assert (failed.status, failed.error, failed.accuracy) == ("failed", "out of memory", None)
    assert study.tell(second, math.nan).status == "failed"
    told = study.tell(first, 0.71, seconds=2)
    assert (told.status, told.accuracy, told.seconds) == ("ok", 0.71, 2)
    assert study.trials == (told, *(t for t in study.trials if t.status == "failed"))
    for again in (first, "first"):
        with pytest.raises(mnas_search.UsageError, match="a proposal that was asked and not told"):
            study.tell(again, 0.5)


def test_wrong_values_are_refused():
    study = mnas_search.ask_tell(ToySpace, "400K", controller="random_search")
    proposal = study.ask()
    with pytest.raises(mnas_search.UsageError, match=r"accuracy must be a fraction .* got 71"):
        study.tell(proposal, 71)
    assert study.tell(proposal, 0.71).status == "ok"
    with pytest.raises(mnas_search.UsageError, match="no network in space 'python:ToySpace' has"):
        mnas_search.ask_tell(ToySpace, "1K")
    with pytest.raises(mnas_search.UsageError, match="controller must be one of bayesian, "):
        mnas_search.ask_tell(ToySpace, "400K", controller="annealing")
    with pytest.raises(mnas_search.UsageError, match="seed must be a whole number"):
        mnas_search.ask_tell(ToySpace, "400K", seed=-1)


def test_a_space_that_fixes_an_option_takes_its_own_value_alone():
    for space in (ToySpace, ToySpace()):
        mnas_search.ask_tell(space, "400K", num_classes=10, resolution=32)
        for option in ("num_classes", "resolution"):
            message = f"{option} is fixed by space 'python:ToySpace', got 64"
            with pytest.raises(mnas_search.UsageError, match=message):
                mnas_search.ask_tell(space, "400K", **{option: 64})


def test_an_exhausted_space_ends_the_asks():
    study = mnas_search.ask_tell(ToySpace, 1e6, controller="random_search")
    with pytest.raises(mnas_search.WorkFailed, match="the space is exhausted"):
        while True:
            proposal = study.ask()
            study.tell(proposal, toy_accuracy(proposal.choices))
    assert len({trial.fingerprint for trial in study.trials}) == len(study.trials) > 100
