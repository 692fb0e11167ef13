"""Runs side by side, and how a result shows itself in Python."""

import json
import statistics
import sys

import matplotlib
import pytest
from pages import Checked

import mnas_search
from mnas_search.common.files import read_json
from mnas_search.experiments.search.recommendation import Recommendation, write_recommended
from mnas_search.testing import ToySpace


def score(architecture, *, seed):
    params = mnas_search.cost(architecture).params
    return params / (params + 3e4) - seed % 7 / 1e3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three repetitions of one setting, and another setting."""
    parent = tmp_path_factory.mktemp("runs")
    options = {"space": ToySpace(), "evaluator": score, "workers": 0, "trials": 6}
    found = {
        name: mnas_search.search(
            "600K", output=parent / name, seed=seed, controller=controller, **options
        )
        for name, seed, controller in (
            ("one", 0, "random_search"),
            ("two", 1, "random_search"),
            ("evolved", 0, "evolution"),
        )
    }
    network = mnas_search.reference.architecture("efficientnet_b0")
    write_recommended(
        Recommendation(name="efficientnet_b0 x0.44", source="baseline", architecture=network),
        parent / "two",
    )
    return parent, found


def test_runs_that_differ_in_their_seed_alone_are_one_setting(runs, run_cli):
    parent, found = runs
    older = read_json(parent / "two" / "config.json")
    assert older["config"].pop("lite") is False  # an option that older runs lack
    (parent / "two" / "config.json").write_text(json.dumps(older))
    code, out, _ = run_cli(
        "compare", parent / "two", parent / "evolved", parent / "one", "--format", "json"
    )
    assert code == 0
    drawn, evolved = json.loads(out)
    assert drawn["setting"] == {"controller": "random_search"}
    assert evolved["setting"] == {"controller": "evolution"}
    assert (drawn["seeds"], evolved["seeds"]) == ([0, 1], [0])
    bests = [json.loads((parent / name / "best.json").read_text()) for name in ("one", "two")]
    accuracies = [best["accuracy"] for best in bests]
    assert drawn["accuracy"] == {
        "mean": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies),
    }
    assert evolved["accuracy"]["std"] is None
    first, second = drawn["runs"]
    assert (first["folder"], first["trials"]) == (str(parent / "one"), 6)
    assert first["macs"] == found["one"].best.macs
    assert first["winner"] == f"trial {found['one'].best.number}"
    assert second["recommended"]["name"] == "efficientnet_b0 x0.44"


def test_the_table_names_what_differs(runs, run_cli):
    parent, _ = runs
    code, out, err = run_cli("compare", *(parent / name for name in ("one", "two", "evolved")))
    assert (code, err) == (0, "")
    for text in ("controller random_search", "controller evolution", "efficientnet_b0 x0.44"):
        assert text in out
    assert "means over seeds" in out
    assert "means over seeds" not in run_cli("compare", parent / "one", parent / "evolved")[1]


def test_folders_that_hold_no_run_are_refused(runs, run_cli, tmp_path):
    parent, _ = runs
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "config.json").write_text('{"format": 2, "command": "run", "config": {}}')
    (torn / "journal.jsonl").touch()
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "config.json").write_text('{"format": 2, "command": "train", "config": {}}')
    for folder, message in (
        (tmp_path / "none", "no folder"),
        (tmp_path, "no config.json"),
        (torn, "holds no run that can be read"),
        (trained, "holds a `train`, not a `run`"),
        (parent / "one", "each RUN must be another folder"),
    ):
        code, out, err = run_cli("compare", parent / "one", folder)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_a_run_without_a_winner_has_its_row(runs, run_cli, tmp_path):
    def never(architecture):
        raise ValueError("no")

    with pytest.raises(mnas_search.WorkFailed):
        mnas_search.search(
            "600K", space=ToySpace, evaluator=never, trials=2, workers=0, output=tmp_path / "run"
        )
    code, out, _ = run_cli("compare", tmp_path / "run", "--format", "json")
    assert code == 0
    ((run,),) = [one["runs"] for one in json.loads(out)]
    assert (run["winner"], run["accuracy"], run["trials"]) == (None, None, 2)
    assert run_cli("compare", tmp_path / "run")[0] == 0


def test_a_result_shows_itself_in_a_notebook(runs):
    result = runs[1]["one"]
    page = result._repr_html_()
    parsed = Checked(page)
    assert f"one: trial {result.best.number} within 600K FLOPs" in parsed.text
    assert result.architecture.block_string in parsed.text
    for trial in result.pareto[-8:]:
        assert f"{trial.accuracy:.4f}" in parsed.text


def test_a_result_as_a_data_frame(runs, monkeypatch):
    pytest.importorskip("pandas")
    result = runs[1]["one"]
    frame = result.to_dataframe()
    assert list(frame["trial"]) == [trial.number for trial in result.trials]
    for decision in result.space.decisions:
        assert list(frame[decision.name]) == [t.choices[decision.name] for t in result.trials]
    for name in ("accuracy", "macs", "reward"):
        assert list(frame[name]) == [getattr(trial, name) for trial in result.trials]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(mnas_search.UsageError, match="to_dataframe requires the package 'pandas'"):
        result.to_dataframe()


def test_a_result_draws_its_front(runs):
    matplotlib.use("agg")
    from matplotlib import pyplot

    result = runs[1]["one"]
    axes = result.plot_front()
    candidates, front, winner, target = axes.get_lines()
    assert len(candidates.get_xdata()) == len(result.good)
    assert list(front.get_ydata()) == [trial.accuracy for trial in result.pareto]
    assert list(winner.get_xdata()) == [result.best.macs]
    assert target.get_xdata()[0] == 600e3
    assert result.plot_front(axes) is axes
    pyplot.close("all")
