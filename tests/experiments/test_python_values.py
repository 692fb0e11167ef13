"""Python values where the command line has text: paths, numpy's numbers, one name for a list."""

import json
from pathlib import Path

import numpy as np
import pytest

import mnas_search
from mnas_search.architecture import published
from mnas_search.common.checks import did_you_mean, plain
from mnas_search.common.errors import UnknownName, UsageError
from mnas_search.experiments.resolve import resolve_architecture
from mnas_search.experiments.search.options import RunConfig
from mnas_search.nas.controller import Controller
from mnas_search.nas.evaluator import Resources
from mnas_search.nas.job import check
from mnas_search.nas.space.choices import sample_codes
from mnas_search.nas.trial import Evaluation
from mnas_search.testing import ToySpace


def test_plain_numbers_and_paths():
    for value, own in (
        (np.int32(3), int),
        (np.uint64(3), int),
        (np.float32(0.5), float),
        (np.float64(0.5), float),
        (Path("a"), str),
        (True, bool),
        (None, type(None)),
        ("3", str),
    ):
        assert type(plain(value)) is own
        assert plain(value) == value or isinstance(value, Path)


def test_a_configuration_of_numpys_numbers_and_paths_is_that_of_pythons(tmp_path):
    numbers = {"trials": 3, "seed": 1, "workers": 0, "resolution": 64, "num_classes": 5}
    ours = RunConfig(target_flops=4e8, exponent=-0.07, start_from=("efficientnet_b0",), **numbers)
    theirs = RunConfig.parsed(
        {
            "target_flops": np.float32(4e8),
            "exponent": np.float64(-0.07),
            "start_from": "efficientnet_b0",
            **{name: np.int64(number) for name, number in numbers.items()},
        }
    )
    assert theirs == ours
    assert RunConfig(target_flops=4e8, start_from=Path("efficientnet_b0")).start_from == (
        "efficientnet_b0",
    )
    assert RunConfig(target_flops=4e8, data=tmp_path).data == str(tmp_path)


class Numpys(Controller):
    """Proposes numpy's numbers."""

    def __init__(self, problem):
        self.decisions = problem.decisions

    def ask(self, rng):
        (codes,) = sample_codes(self.decisions, 1, rng)
        options = (
            np.array(d.options)[code] for d, code in zip(self.decisions, codes, strict=True)
        )
        return dict(zip((d.name for d in self.decisions), options, strict=True))

    def tell(self, trial):
        pass


def test_a_search_with_paths_and_numpys_numbers(tmp_path):
    result = mnas_search.search(
        np.float64(1e6),
        space=ToySpace,
        controller=Numpys,
        evaluator=lambda network: np.float32(0.25),
        trials=np.int64(2),
        workers=np.int32(0),
        seed=np.uint8(3),
        output=tmp_path / "run",
    )
    assert [trial.accuracy for trial in result.trials] == [0.25, 0.25]
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["seed"], config["trials"]) == (3, 2)


def test_ask_and_tell_with_numpys_numbers():
    study = mnas_search.ask_tell(ToySpace, np.float32(1e6), seed=np.int64(0))
    trial = study.tell(study.ask(), np.float32(0.5), seconds=np.float32(1.5))
    assert (type(trial.accuracy), type(trial.seconds)) == (float, float)
    assert study.trials == (trial,)


def test_results_of_evaluators_become_plain():
    found = check(
        Evaluation(
            accuracy=np.float32(0.5),
            std=np.float64(0.1),
            info={"test": np.float32(0.25), "epochs": np.int64(3)},
            correct=np.array([True, False]),
        )
    )
    assert json.dumps([found.accuracy, found.std, found.info, found.correct])
    assert type(Resources(cpus=np.int64(2)).cpus) is int


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("efficientnet_b00", "efficientnet_b0"),
        ("efficientnet-b0", "efficientnet_b0"),
        ("resnet_50", "resnet50"),
        ("mobilenetv2", "mobilenet_v2"),
    ],
)
def test_architectures_are_suggested(given, meant):
    assert meant in published.names()
    with pytest.raises(UnknownName, match=rf"unknown architecture '{given}' \(did you mean "):
        resolve_architecture(given)
    assert did_you_mean(given, published.names()) == f" (did you mean {meant}?)"


def test_plugins_are_suggested_and_nothing_far_away_is():
    with pytest.raises(UsageError, match=r"got 'baysian' \(did you mean bayesian\?\)"):
        mnas_search.ask_tell("efficientnet", 4e8, controller="baysian")
    assert did_you_mean("xyz", published.names()) == ""
    with pytest.raises(mnas_search.InvalidArchitecture):
        resolve_architecture("ir_r2_k3_s2_e6_c24_q3")  # meant as a block string
