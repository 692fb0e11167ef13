"""Searches from Python: objects in the place of names, callbacks."""

import json
import subprocess
import sys
import textwrap
import threading
from functools import partial

import numpy as np
import pytest
from runs import PATIENCE, events, timeless

import mnas_search
from mnas_search import Callback, Controller, Dataset, Evaluation, Evaluator, Split, sample_choices
from mnas_search.common import objects
from mnas_search.testing import ToySpace

TARGET = 600e3


def score(architecture):
    params = mnas_search.cost(architecture).params
    return params / (params + 3e4)


class Drawing(Controller):
    def __init__(self, problem):
        self.decisions = problem.decisions

    def ask(self, rng):
        return sample_choices(self.decisions, rng)

    def tell(self, trial):
        pass


class Scaled(Evaluator):
    resources = None
    noisy = False

    def __init__(self, factor):
        self.factor = factor

    def evaluate(self, network, *, seed):
        yield Evaluation(accuracy=self.factor * score(network), rung=1)
        yield Evaluation(accuracy=score(network))


def search(output, **options):
    toy = {"space": ToySpace, "evaluator": score, "controller": Drawing, "trials": 4}
    return mnas_search.search(TARGET, output=output, **{**toy, "workers": 0, **options})


def recorded(folder):
    return json.loads((folder / "config.json").read_text())["config"]


def tiny():
    """Two of the toy space's ten classes, which a mean tells apart; 8 pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = (rng.integers(0, 60, (24, 8, 8, 3)) + 150 * labels[:, None, None, None]).astype("u1")
    split = Split(images=images, labels=labels)
    return Dataset(name="tiny", num_classes=10, train=split, validation=split, test=split)


def test_what_ends_a_run_is_said_and_not_what_the_tables_then_lack(tmp_path):
    class Broken(Drawing):
        def tell(self, trial):
            if trial.number == 2:
                raise ValueError("the first reason")

        def estimate(self, codes):
            raise RuntimeError("a consequence")

    def seeded(architecture, seed):
        return score(architecture)

    with pytest.raises(mnas_search.WorkFailed, match=r"tell of trial 2 .*the first reason"):
        search(tmp_path / "run", controller=Broken, evaluator=seeded)


def test_objects_are_recorded_by_name_and_digest(tmp_path):
    result = search(tmp_path / "run", evaluator=Scaled(0.5))
    config = recorded(tmp_path / "run")
    assert config["space"], config["controller"] == ("python:ToySpace", "python:Drawing")
    assert config["evaluator"] == "python:Scaled"
    assert len(config["evaluator_sha256"]) == len(config["space_sha256"]) == 64
    assert result.best.accuracy == score(result.architecture)


def test_a_class_of_an_installed_plug_in_is_recorded_as_the_plug_in(tmp_path, run_cli):
    drawn = mnas_search.load_plugin("controllers", "random_search")
    search(tmp_path / "run", controller=drawn, space=ToySpace())
    assert recorded(tmp_path / "run")["controller"] == "random_search"
    assert recorded(tmp_path / "run")["space"] == "python:ToySpace"


def test_a_run_with_objects_is_resumed_by_the_same_objects_alone(tmp_path, run_cli):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    search(folder)
    code, out, err = run_cli("resume", folder, "--trials", 6)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "mnas_search.search with the same objects" in err
    search(folder, trials=6)
    search(whole, trials=6)
    same = [e for e in timeless(folder) if e["event"] != "session"]
    assert same == [e for e in timeless(whole) if e["event"] != "session"]

    def other():
        def score(architecture):
            return 0.5

        return score

    with pytest.raises(mnas_search.UsageError, match="'python:score' has changed since the run"):
        search(folder, trials=6, evaluator=other())


def test_what_a_closure_or_an_instance_holds_is_part_of_its_digest(tmp_path):
    def scaled(factor):
        return lambda architecture: factor * score(architecture)

    def given(factor):
        return partial(lambda architecture, factor: factor * score(architecture), factor=factor)

    for name, make in (("closure", scaled), ("instance", Scaled), ("partial", given)):
        folder = tmp_path / name
        search(folder, evaluator=make(0.5))
        search(folder, evaluator=make(0.5), trials=5)
        with pytest.raises(mnas_search.UsageError, match="has changed since the run"):
            search(folder, evaluator=make(0.25), trials=5)


def test_keyword_defaults_and_base_classes_are_part_of_a_digest():
    def keyword(factor):
        def scaled(architecture, *, by=factor):
            return by * score(architecture)

        return scaled

    def inherited(factor):
        class Base(Evaluator):
            def evaluate(self, network, *, seed):
                yield Evaluation(accuracy=self.scale() * score(network))

            if factor == 0.5:

                def scale(self):
                    return 0.5
            else:

                def scale(self):
                    return 0.25

        return type("Derived", (Base,), {})

    for make in (keyword, inherited):
        half, again, quarter = (digest_of(make(factor)) for factor in (0.5, 0.5, 0.25))
        assert half == again != quarter


def digest_of(value):
    with objects.known({"python:value": value}):
        return objects.digest("python:value")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluator": 3}, "evaluator must be an Evaluator or a function, got 3"),
        ({"space": object()}, "space must be a SearchSpace class, got 'python:object'"),
        ({"controller": score}, "controller must name a Controller class, got 'python:score'"),
        ({"data": 3, "evaluator": None}, "must be a mnas_search.Dataset or a function"),
        ({"evaluator": Scaled(1), "data": tiny()}, "an evaluator that takes data, got the instan"),
        ({"callbacks": [print]}, "callbacks must be instances of Callback, got <built-in"),
        ({"callbacks": Callback()}, "callbacks must be a list of Callback instances, got <mnas"),
    ],
)
def test_wrong_objects_are_refused_in_one_line(tmp_path, options, message):
    with pytest.raises(mnas_search.UsageError, match=message) as raised:
        search(tmp_path / "run", **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_an_evaluator_that_cannot_travel_to_workers_is_refused_before_a_folder(tmp_path):
    lock = threading.Lock()

    def locked(architecture):
        with lock:
            return score(architecture)

    with pytest.raises(mnas_search.UsageError, match=r"'python:locked' cannot be .*workers=0"):
        search(tmp_path / "run", evaluator=locked, workers=1)
    assert not (tmp_path / "run").exists()
    assert search(tmp_path / "run", evaluator=locked).best is not None


def test_a_data_set_is_used_as_it_is(tmp_path):
    options = {"space": ToySpace(), "evaluator": None, "proxy": "epochs=1,width=0.5", "trials": 1}
    result = search(tmp_path / "run", data=tiny(), **options)
    config = recorded(tmp_path / "run")
    assert config["data"] == "python:tiny"
    assert config["data_sha256"] == tiny().sha256 == result.evaluator.data_sha256
    assert result.trials[0].status == "ok"
    other = tiny()
    other.train.images[0] = 7
    with pytest.raises(mnas_search.UsageError, match="'python:tiny' has changed"):
        search(tmp_path / "run", data=other, **options)


class Notes(Callback):
    """Notes every hook; `fails` at one of them."""

    def __init__(self, fails=""):
        self.calls, self.fails = [], fails

    def note(self, name, *values):
        self.calls.append((name, *values))
        if name == self.fails:
            raise ZeroDivisionError("of mine")

    def on_start(self, folder):
        self.note("on_start", folder)

    def on_trial(self, trial):
        self.note("on_trial", trial)

    def on_rung(self, trial, rung, accuracy):
        self.note("on_rung", trial, rung, accuracy)

    def on_stage(self, text):
        self.note("on_stage", text)

    def on_end(self):
        self.note("on_end")


def test_callbacks_are_called_and_change_nothing(tmp_path):
    notes, one = Notes(), Scaled(0.5)
    result = search(tmp_path / "run", evaluator=one, callbacks=[notes, Callback()])
    search(tmp_path / "plain", evaluator=one)
    assert timeless(tmp_path / "run") == timeless(tmp_path / "plain")
    assert notes.calls[0] == ("on_start", tmp_path / "run")
    assert [c[0] for c in notes.calls[1:]] == ["on_rung", "on_trial"] * 4 + ["on_end"]
    assert tuple(c[1] for c in notes.calls if c[0] == "on_trial") == result.trials
    for rung, trial in zip(notes.calls[1:-1:2], result.trials, strict=True):
        assert rung[1:] == (trial.number, 1, 0.5 * trial.accuracy)


def test_a_stage_is_told(tmp_path):
    notes = Notes()
    search(
        tmp_path / "run",
        space=ToySpace(),
        data=tiny(),
        evaluator=None,
        proxy="epochs=1,width=0.5",
        trials=1,
        callbacks=[notes],
    )
    stages = [call[1] for call in notes.calls if call[0] == "on_stage"]
    assert any("baselines" in stage for stage in stages)


@pytest.mark.parametrize("hook", ["on_start", "on_trial", "on_rung", "on_end"])
def test_a_failing_callback_is_named_and_the_run_resumes(tmp_path, hook):
    one = Scaled(0.5)
    message = rf"callback Notes.{hook} failed: ZeroDivisionError: of mine.*can be resumed"
    with pytest.raises(mnas_search.WorkFailed, match=message):
        search(tmp_path / "run", evaluator=one, callbacks=[Notes(hook)])
    search(tmp_path / "run", evaluator=one)
    search(tmp_path / "plain", evaluator=one)
    told = [e for e in timeless(tmp_path / "run") if e["event"] != "session"]
    assert told == [e for e in timeless(tmp_path / "plain") if e["event"] != "session"]


@pytest.mark.full
def test_what_a_program_defines_travels_to_the_workers(tmp_path):
    """A closure, and classes of `__main__`, as a notebook defines them."""
    program = """
        import os, sys, mnas_search
        from mnas_search import Evaluation, Evaluator, Resources
        from mnas_search.testing import ToySpace

        class Mine(Evaluator):
            noisy = False
            resources = Resources()
            def __init__(self, scale):
                self.scale = scale
            def evaluate(self, network, *, seed):
                assert os.getpid() != parent
                yield Evaluation(accuracy=self.scale * mnas_search.cost(network).params / 1e5)

        class Smaller(ToySpace):
            pass

        def made(scale):
            return lambda network: scale * mnas_search.cost(network).params / 1e5

        parent = os.getpid()
        for name, evaluator in (("closure", made(0.1)), ("class", Mine(0.1))):
            result = mnas_search.search(
                600e3, space=Smaller, evaluator=evaluator, trials=3, workers=2,
                output=os.path.join(sys.argv[1], name), controller="random_search",
            )
            assert [t.status for t in result.trials] == ["ok"] * 3, result.trials
    """
    done = subprocess.run(
        [sys.executable, "-", str(tmp_path)],
        input=textwrap.dedent(program),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    tells = [
        [e["accuracy"] for e in events(tmp_path / name) if e["event"] == "tell"]
        for name in ("closure", "class")
    ]
    assert sorted(tells[0]) == sorted(tells[1])  # two workers finish in any order
