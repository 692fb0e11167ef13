"""The page of a run: what it says, that it is well-formed, and that it changes nothing."""

import json
import re
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from pages import checked

from mnas_search.architecture.traced_network import TracedNetwork
from mnas_search.common.errors import WorkFailed
from mnas_search.common.render.axis import Axis
from mnas_search.experiments.experiment import Experiment
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.search.config import RunConfig, Setup
from mnas_search.experiments.search.report.page import page
from mnas_search.experiments.search.run import RUN, _run, reopen, report
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.journal import ReadJournal
from mnas_search.nas.space.choices import Decision
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.trial import Evaluation

HERE = Path(__file__).parents[1]
EVALUATOR = f"{HERE / 'evaluators_for_tests.py'}:by_params"
CHEAP = f"{HERE / 'evaluators_for_tests.py'}:Cheap"
HOSTILE = "<script>alert('k')</script>&\x1b\u202e"


def marks(svg, kind):
    return [e for e in svg.iter() if e.get("class") == kind and not e.tag.endswith("text")]


def said(svg):
    return [e.text for e in svg.iter() if e.tag.endswith("text")]


class Told(Evaluator):
    """Half of an evaluator by predictions; the whole one where it has halves."""

    noisy = False
    resources = None

    def __init__(self, name="whole", halves=None):
        self.label, self._halves = f"made-up accuracy <by {name}>", halves

    def independent_pair(self):
        return self._halves

    def evaluate(self, network, *, seed):
        del seed
        shift = 0.01 if "check" in self.label else 0.0
        macs = sum(s.repeats * s.kernel for s in network.stages)
        yield Evaluation(accuracy=0.5 + macs / 500 - shift, std=0.0123 + shift)


class Trains(Evaluator):
    """A training that takes no time."""

    resources = None

    def evaluate(self, network, *, seed):
        yield Evaluation(accuracy=0.9)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A finished run by predictions whose finalists were scored again and trained."""
    folder = tmp_path_factory.mktemp("runs") / "predicted"
    folder.mkdir()
    config = RunConfig(
        target_flops=400e6, controller="random_search", evaluator=CHEAP, trials=8, workers=0
    )
    setup = Setup(config)
    setup.evaluator, setup.check, setup.trainer = Told("search"), Told("check"), Trains()
    experiment = Experiment(RUN, folder)
    experiment.make(setup.recorded, "")
    return folder, _run(setup, experiment, Listener(), time.monotonic())


def test_a_run_by_predictions_shows_both_and_the_baseline(predicted):
    folder, result = predicted
    text = (folder / "report.html").read_text()
    parsed, svg = checked(text)
    opinion = result.opinion
    assert result.architecture.block_string in parsed.text
    for scored in (opinion.searched, opinion.checked):
        assert f"{scored.accuracy:.4f} ± {1.959964 * scored.std:.4f}" in parsed.text
    assert f"{opinion.macs:,}" in parsed.text
    for part in (
        "400M FLOPs",
        "Stage by stage",
        "8 asked for, 8 finished",
        "made-up accuracy <by search>",
        "made-up accuracy <by check>",
        "Accuracies are predictions",
        "predicted-b7",
        "multiply-adds",
        f"mnas-search {version('mnas-search')}",
    ):
        assert part in parsed.text
    assert len(marks(svg, "grey")) == 8
    assert len(marks(svg, "orange bar")) == len(marks(svg, "violet bar")) == 1
    assert len(marks(svg, "orange")) == len(marks(svg, "violet diamond")) == 1
    assert {"winner", "efficientnet_b0", "target 400M", "FLOPs (multiply-adds)"} <= set(said(svg))
    assert said(svg)[0] == "made-up accuracy <by search>"


def test_a_run_writes_the_page_and_report_the_same_again(run_cli, tmp_path):
    folder = tmp_path / "mine"
    options = ("--controller", "random_search", "--evaluator", EVALUATOR, "--trials", 6)
    code, _, err = run_cli(
        "run", "--target-flops", "200M", *options, "--workers", 0, "--output", folder
    )
    assert code == 0, err
    file = folder / "report.html"
    first, journal = file.read_bytes(), (folder / "journal.jsonl").read_bytes()
    parsed, svg = checked(first.decode())
    best = json.loads((folder / "best.json").read_text())
    assert best["block_string"] in parsed.text
    assert f"{best['accuracy']:.4f}" in parsed.text
    assert not marks(svg, "violet diamond")
    assert said(svg)[0] == "accuracy"
    for _ in range(2):
        file.unlink()
        code, out, err = run_cli("report", folder)
        assert (code, out, err) == (0, f"{file}\n", "")
        assert file.read_bytes() == first
    assert (folder / "journal.jsonl").read_bytes() == journal


def test_a_run_that_goes_on_is_read_and_not_disturbed(predicted, run_cli, tmp_path):
    source, _ = predicted
    folder = tmp_path / "going-on"
    folder.mkdir()
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    lines = (source / "journal.jsonl").read_bytes().splitlines(keepends=True)
    tells = [i for i, line in enumerate(lines) if b'"tell"' in line]
    part = b"".join(lines[: tells[0] + 2]) + b'{"event": "te'  # one told, one asked, one torn
    (folder / "journal.jsonl").write_bytes(part)
    parsed, svg = checked(report(folder).read_text())
    assert (folder / "journal.jsonl").read_bytes() == part
    assert "8 asked for, 1 finished" in parsed.text
    assert "Small dots: 1 candidate;" in parsed.text
    assert len(marks(svg, "grey")) == 1
    assert len(reopen(folder).trials) == 1
    with pytest.raises(WorkFailed, match="only read"):
        ReadJournal(folder / "journal.jsonl").append({"event": "ask"})
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:2]))  # nothing told yet
    code, out, err = run_cli("report", folder)
    assert (code, out) == (1, "")
    assert err == "error: no report without a winner: no candidate was finished\n"


class Traced(SearchSpace):
    """Networks that are no chain of stages, under hostile names."""

    decisions = (Decision(name="width", options=(1, 2, 3)),)

    def decode(self, choices):
        width = choices["width"]
        return TracedNetwork(
            build=lambda: torch.nn.Conv2d(3, width, 1), key=f"{HOSTILE} {width}", resolution=8
        )


def test_hostile_names_and_errors_are_escaped_and_traced_winners_have_no_family(tmp_path):
    folder = tmp_path / "<b>run & co"
    folder.mkdir()
    evaluator = tmp_path / "mine.py"
    evaluator.write_text(
        "def score(network):\n"
        "    if network.key.endswith('1'):\n"
        "        raise ValueError('<script>\"no\"')\n"
        "    return 0.5\n"
        "score.resources = None\n"
    )
    config = RunConfig(
        target_flops=1e9,
        space=f"{__file__}:Traced",
        controller="random_search",
        evaluator=f"{evaluator}:score",
        trials=3,
        workers=0,
    )
    setup = Setup(config)
    experiment = Experiment(RUN, folder)
    experiment.make(setup.recorded, "")
    result = _run(setup, experiment, Listener(), time.monotonic())
    text = (folder / "report.html").read_text()
    parsed, svg = checked(text)
    assert "<script" not in text
    assert "<b>" not in text
    assert not re.search("[\x1b\u202e]", text)
    assert "<script>alert('k')</script>&\\x1b\\u202e" in parsed.text
    assert "1 candidates failed" in parsed.text
    assert "The family" not in parsed.text
    assert "no family, no export" in parsed.text
    assert len(marks(svg, "grey")) == len(result.good) == 2
    assert "target 1G: beyond →" in said(svg)
    again = page(result, {"<i>": HOSTILE})
    checked(again)
    assert "<i>" not in again


def test_without_a_winner_there_is_no_page(run_cli, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def score(network):\n    raise ValueError('no')\nscore.resources = None\n")
    folder = tmp_path / "run"
    options = ("--controller", "random_search", "--evaluator", f"{mine}:score", "--trials", 2)
    code, _, _ = run_cli("run", "--target-flops", "200M", *options, "--output", folder)
    assert code == 1
    code, out, err = run_cli("report", folder)
    assert (code, out) == (1, "")
    assert err.startswith("error: no report without a winner: all 2 candidates failed")
    assert err.count("\n") == 1
    assert not (folder / "report.html").exists()


def test_folders_that_are_no_run_are_refused(run_cli, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (tmp_path, tmp_path / "none", file):
        code, out, err = run_cli("report", folder)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("low", [0.0, 1e-3, 0.62, 3e6, 4e11])
@pytest.mark.parametrize("span", [0.0, 1e-4, 0.013, 1.0, 7e8])
def test_ticks_are_round_few_and_within(low, span):
    axis = Axis.around([low, low + span], start=0, end=100, least=max(0.01, 0.1 * low))
    assert 2 <= len(axis.ticks) <= 8
    assert all(axis.low <= tick * (1 + 1e-9) <= axis.high * (1 + 2e-9) for tick in axis.ticks)
    assert f"{axis.step:e}"[0] in "125"
    assert 0 <= axis.at(low) <= axis.at(low + span) <= 100
