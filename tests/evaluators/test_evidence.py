"""The recorded networks, their predictors, and the evaluator."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau
from strategies import SPACES

from mnas_search import reference
from mnas_search.common import plugins
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.evaluators.accel_nasbench import build, evaluator, evidence, models
from mnas_search.evaluators.accel_nasbench.evaluator import AccelNasBench
from mnas_search.nas.space.choices import decode
from mnas_search.testing import EvaluatorContract

B0 = reference.architecture("efficientnet_b0")


def accuracy(architecture, part="all"):
    return next(iter(AccelNasBench(part=part).evaluate(architecture, seed=0)))


class TestAccelNasBench(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return AccelNasBench(part="search")

    @pytest.fixture
    def network(self):
        return B0


# -- the evidence -------------------------------------------------------------------------------


def test_recorded_networks_are_the_benchmarks():
    """The figures of its own description."""
    recorded = evidence.load()
    assert len(recorded) == 4_626
    assert len(np.unique(recorded.codes, axis=0)) == 4_616
    assert recorded.accuracy.min() == pytest.approx(0.4285)
    assert recorded.accuracy.max() == pytest.approx(0.67052)
    squeeze = recorded.codes[:, 3::4]
    assert (squeeze.sum(axis=1) == 0).sum() == 1_629  # the sampling bias that the docs state
    assert len(recorded.performance) == 8


def test_halves_share_no_network_and_are_deterministic():
    one, two = evidence.load().halves()
    again, _ = evidence.load().halves()
    np.testing.assert_array_equal(one.codes, again.codes)
    assert len(one) + len(two) == 4_626
    both = np.concatenate([np.unique(half.codes, axis=0) for half in (one, two)])
    assert len(np.unique(both, axis=0)) == len(both)


def test_an_archive_is_read_as_it_is_written(tmp_path):
    """The true on-disk format, made here: one JSON a network in a tar."""
    import tarfile

    names = [f"block{i}_{x}" for i in range(7) for x in "ekl"]
    architecture = dict(zip(names, [1, 3, 1, *[6, 5, 2] * 6], strict=True))
    architecture |= {f"block{i}_se": i % 2 == 0 for i in range(7)}
    devices = ("latency_zcu102", "throughput_a100")
    record = {
        "architecture": architecture,
        "metrics": {"val_top1": 63.092003, "val_top5": 84.0, "train_time": 1.0},
        "model_info": {"macs": 369.019616, "params": 4.042824},
        "platform_perf": {
            name: {f"{name.partition('_')[0]}_mean": 4.5, "x_std": None} for name in devices
        },
    }
    archive = tmp_path / "networks.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for number in (10, 2):
            file = tmp_path / f"result_{number}.json"
            file.write_text(json.dumps(record))
            tar.add(file, arcname=f"folder/{file.name}")
    columns = build.networks(archive)
    assert columns["number"].tolist() == [2, 10]
    assert columns["accuracy"].tolist() == [63_092, 63_092]
    assert columns["macs"].tolist() == [369_019_616] * 2
    stages = [[0, 0, 0, 1], *([2, 1, 1, i % 2 == 0] for i in range(1, 7))]
    assert columns["codes"][0].tolist() == [code for stage in stages for code in stage]
    assert columns["throughput_a100"].tolist() == [4.5, 4.5]


# -- the predictors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [pytest.param(models.GaussianProcess, marks=pytest.mark.full), models.BoostedTrees],
)
def test_predictors_rank_networks_that_they_were_not_fitted_on(kind):
    """Fitted on 1,500 networks; the docs have the figures for all of them."""
    recorded = evidence.load()
    fold = recorded.folds(3)
    fitted, held = recorded.take(fold == 0), recorded.take(fold == 1)
    model = kind.fit(fitted.codes, fitted.accuracy)
    mean, std = model.predict(held.codes)
    assert kendalltau(mean, held.accuracy).statistic > 0.88
    assert 1 - ((mean - held.accuracy) ** 2).mean() / held.accuracy.var() > 0.96
    covered = (np.abs(mean - held.accuracy) < 1.96 * std).mean()
    assert 0.90 < covered < 0.98


@pytest.mark.slow
def test_shipped_kernel_is_what_a_refit_gives():
    recorded = evidence.load()
    first, _ = recorded.halves()
    fitted = models.fit_kernel(first.codes, first.accuracy, noise=evidence.SEED_NOISE)
    shipped = evaluator.kernel("accuracy, first half")
    one = models.GaussianProcess.fit(first.codes, first.accuracy, kernel=fitted)
    two = models.GaussianProcess.fit(first.codes, first.accuracy, kernel=shipped)
    codes = recorded.codes[::20]
    assert np.abs(one.expect(codes) - two.expect(codes)).max() < 2e-4


def test_the_mean_alone_is_the_mean():
    model = evaluator._model("search")
    codes = evidence.load().codes[:50]
    np.testing.assert_allclose(model.expect(codes), model.predict(codes)[0], atol=1e-10)


def test_devices_are_predicted():
    model = evaluator.performance("throughput_a100")
    recorded = evidence.load().with_performance("throughput_a100")
    predicted = np.exp(model.expect(recorded.codes[:500]))
    truth = recorded.performance["throughput_a100"][:500]
    assert np.median(np.abs(predicted / truth - 1)) < 0.01
    with pytest.raises(UsageError, match=r"one of .*throughput_a100.*, got 'abacus'"):
        evaluator.performance("abacus")


# -- the evaluator ------------------------------------------------------------------------------


def test_b0_reads_what_the_benchmarks_own_predictor_says():
    """65.737 % by Accel-NASBench's README."""
    said = accuracy(B0)
    assert said.accuracy == pytest.approx(0.65737, abs=2 * said.std)
    assert 0.002 < said.std < 0.006


def test_what_does_not_matter():
    other = replace(
        B0,
        stages=tuple(replace(s, activation="relu") for s in B0.stages),
        bn_eps=1e-5,
        dropout_rate=0.0,
        name="b0_relu",
    )
    assert accuracy(other).accuracy == accuracy(B0).accuracy


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (replace(B0, resolution=240), "resolution must be 224, got 240"),
        (replace(B0, num_classes=10), "num_classes must be 1000, got 10"),
        (replace(B0, head_channels=1000), "head_channels must be 1280, got 1000"),
        (replace(B0, stages=B0.stages[:6]), "stages must be 7, got 6"),
        (
            replace(B0, stages=(*B0.stages[:6], replace(B0.stages[6], kernel=7))),
            "stage 6 is not in the space",
        ),
    ],
)
def test_what_is_refused(network, named):
    with pytest.raises(InvalidArchitecture, match=named):
        accuracy(network)


def test_batches_are_single_predictions():
    space = SPACES["efficientnet"]
    codes = evidence.load().codes[:3]
    predict = AccelNasBench(part="search").predictor(space)
    single = [accuracy(space.decode(decode(space.decisions, c)), "search").accuracy for c in codes]
    np.testing.assert_allclose(predict(codes), single, atol=1e-10)
    assert AccelNasBench().predictor(SPACES["mnasnet"]) is None


def test_files_are_evaluated_line_by_line(tmp_path, run_cli):
    file = tmp_path / "networks.txt"
    file.write_text("# two\n\nefficientnet_b0\n" + B0.block_string + "\n")
    code, out, _err = run_cli(
        "evaluate", "--evaluator", "accel_nasbench", "--file", file, "--format", "json"
    )
    assert code == 0
    rows = json.loads(out)
    assert [row["name"] for row in rows] == ["efficientnet_b0", B0.block_string]
    assert rows[0]["accuracy"] == rows[1]["accuracy"]
    assert rows[0]["std"] > 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must hold one architecture per line, got none"),
        ("efficientnet_b0\n\nbanana\n", "line 3: unknown architecture 'banana'"),
        ("efficientnet_b0\nefficientnet_b1\n", "line 2: 'efficientnet_b1' was not recorded"),
        ("\x00\n", "line 1: "),
    ],
)
def test_files_that_cannot_be_evaluated(tmp_path, run_cli, content, said):
    file = tmp_path / "networks.txt"
    file.write_text(content)
    code, out, err = run_cli("evaluate", "--evaluator", "accel_nasbench", "--file", file)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_it_is_found_by_name():
    assert plugins.load("evaluators", "accel_nasbench") is AccelNasBench


def test_the_example_searches_for_a_device(capsys):
    file = Path(__file__).parents[2] / "examples" / "search_for_a_device.py"
    example = plugins.load_file(file)
    example.EVALUATIONS = 14
    example.main("throughput_a100", 8_000)
    block_string, figures = capsys.readouterr().out.strip().splitlines()
    assert len(block_string.split()) == 7
    assert int(figures.split(", ")[1].split(" ")[0].replace(",", "")) >= 8_000
