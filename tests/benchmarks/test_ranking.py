"""`bench ranking`: scores against values computed otherwise, statistics, the command."""

import gzip
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn
from torch.nn import functional as F

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.published import architecture
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks import ranking
from mnas_search.benchmarks.ranking import networks, scores, structure, table, tasks
from mnas_search.benchmarks.ranking.readings import Reading, Structure, ZeroCost
from mnas_search.benchmarks.ranking.running import Store, Work, measure
from mnas_search.benchmarks.ranking.trained import RandomFeatures, ShortTraining
from mnas_search.benchmarks.ranking.trials import Combination, Trial
from mnas_search.common.errors import UsageError
from mnas_search.common.machine import one_thread
from mnas_search.evaluators.accel_nasbench.evidence import load
from mnas_search.networks import build


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def small() -> Architecture:
    return networks.network(int(networks.sample("selection", 2).rows[0]))


# Statistics


def test_tau_is_scipys_tau_b_with_ties():
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 6, (2, 40)).astype(float)
    assert table.tau(one, two) == pytest.approx(kendalltau(one, two).statistic)


def test_what_is_no_number_ranks_last():
    assert table.tau(np.array([np.nan, 1, 2.0]), np.array([0.1, 0.2, 0.3])) == 1
    assert table.tau(np.array([1, 2, np.nan]), np.array([0.1, 0.2, 0.3])) < 0


def test_a_constant_ranks_nothing():
    assert table.tau(np.zeros(5), np.arange(5.0)) == 0


def test_intervals_hold_their_value_and_know_a_clear_difference():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=120)
    good, poor = truth + 0.3 * rng.normal(size=120), truth + 2 * rng.normal(size=120)
    interval = table.tau_interval(poor, truth)
    assert interval.low < interval.value < interval.high
    assert table.difference(good, poor, truth).above_zero
    assert not table.difference(poor, good, truth).above_zero
    same = table.difference(good, good, truth)
    assert (same.value, same.low, same.high) == (0, 0, 0)


# Networks


def test_draws_are_disjoint_fixed_and_of_distinct_networks():
    one, two = (networks.sample(draw, networks.MAX_NETWORKS) for draw in networks.DRAWS)
    codes = load().codes[np.concatenate([one.rows, two.rows])]
    assert len(np.unique(codes, axis=0)) == 2 * networks.MAX_NETWORKS
    assert networks.sample("selection", 5).rows.tolist() == one.rows[:5].tolist()


def test_the_sample_says_what_the_networks_are():
    drawn = networks.sample("confirmation", 20)
    for index, row in enumerate(drawn.rows):
        network = networks.network(int(row))
        counted = cost(network)
        assert (counted.macs, counted.params) == (drawn.macs[index], drawn.params[index])
        assert drawn.fair[index] == any(stage.se_ratio for stage in network.stages)
        assert {stage.activation for stage in network.stages} == {"relu"}


@pytest.mark.parametrize("count", [1, networks.MAX_NETWORKS + 1])
def test_a_sample_of_a_wrong_size_is_refused(count):
    with pytest.raises(UsageError, match=f"must be from 2 to 300, got {count}"):
        networks.sample("selection", count)


# Scores of the plan


def test_entropy_is_that_of_the_built_convolutions():
    network = build(small())
    widths = [
        m.in_channels // m.groups * m.kernel_size[0] ** 2
        for m in network.modules()
        if isinstance(m, nn.Conv2d) and m.bias is None
    ]
    expected = math.log(7 * 7 * 1280) * sum(map(math.log, widths))
    assert structure.entropy(small()) == pytest.approx(expected)


def test_volume_and_activations_are_those_of_the_built_convolutions():
    network = build(small())
    found = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, _i, y: found.append((m.weight, y.numel())))
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, 224, 224))
    volume = sum(math.log(weight.numel()) for weight, _ in found)
    assert structure.log_volume(small()) == pytest.approx(volume)
    elements = sum(count for _, count in found)
    assert structure.log_activations(small()) == pytest.approx(math.log(elements))


def test_b0_has_sixteen_blocks_and_its_published_counts():
    b0 = architecture("efficientnet_b0")
    assert structure.depth(b0) == 16
    assert structure.log_both(b0) == pytest.approx(math.log(385_814_752) + math.log(5_288_548))


# Scores of an untrained network


class Linear(nn.Module):
    """A linear layer on the flattened image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x.flatten(1))


def linear_case():
    network = Linear(12, 3)
    images, labels = torch.randn(8, 3, 2, 2), torch.arange(8) % 3
    return network, images, labels


def linear_gradient(network, images, labels):
    """Of the mean cross-entropy with respect to the weight, by its formula."""
    with torch.no_grad():
        error = network(images).softmax(1) - F.one_hot(labels, 3)
        return error.T @ images.flatten(1) / len(images)


def test_synflow_of_a_chain_is_layers_times_the_product_of_absolute_weights():
    network = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Conv2d(2, 1, 1, bias=False),
    )
    first, last = (network[i].weight.detach().flatten(1).abs() for i in (0, 3))
    total = 4 * 4 * float((last @ first).sum())
    score = scores.synflow(network, torch.randn(2, 3, 4, 4), torch.zeros(2))
    assert score == pytest.approx(math.log(2 * total), rel=1e-5)


def test_grad_norm_and_snip_follow_the_gradient_of_cross_entropy():
    network, images, labels = linear_case()
    gradient = linear_gradient(network, images, labels)
    weight = network.layer.weight.detach().clone()
    assert scores.grad_norm(network, images, labels) == pytest.approx(float(gradient.norm()))
    network.zero_grad()
    expected = float((weight * gradient).abs().sum())
    assert scores.snip(network, images, labels) == pytest.approx(expected, rel=1e-5)


def test_zico_divides_mean_gradients_by_their_deviation_over_quarters():
    network, images, labels = linear_case()
    quarters = np.stack(
        [
            linear_gradient(network, images[i : i + 2], labels[i : i + 2]).numpy()
            for i in range(0, 8, 2)
        ]
    )
    expected = math.log((np.abs(quarters).mean(0) / quarters.std(0)).sum())
    assert scores.zico(network, images, labels) == pytest.approx(expected, rel=1e-4)


def test_jacob_cov_of_a_linear_network_sees_one_gradient():
    network, images, labels = linear_case()
    small_value, large = 1e-5, 8 + 1e-5
    expected = -(7 * (math.log(small_value) + 1 / small_value) + math.log(large) + 1 / large)
    assert scores.jacob_cov(network, images, labels) == pytest.approx(expected, rel=1e-3)


def test_nwot_counts_relus_that_agree():
    network = nn.Sequential(nn.Flatten(), nn.ReLU())
    images = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, 1, 1, -1]])[:, None, None]
    agree = np.array([[4, 2, 2], [2, 4, 2], [2, 2, 4]])
    score = scores.nwot(network, images, torch.zeros(3))
    assert score == pytest.approx(math.log(np.linalg.det(agree)))


def test_zen_adds_what_batch_norm_divided_by():
    network = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU())
    images = torch.empty(4, 3, 9, 9)
    torch.manual_seed(5)
    score = scores.zen(network, images, torch.zeros(4))
    torch.manual_seed(5)
    weight, x = torch.randn(5, 3, 3, 3), torch.randn(4, 3, 9, 9)
    maps = [F.conv2d(image, weight) for image in (x, x + 0.01 * torch.randn(4, 3, 9, 9))]
    deviation = [y.var((0, 2, 3), keepdim=True, correction=0) for y in maps]
    means = [y.mean((0, 2, 3), keepdim=True) for y in maps]
    out = [
        ((y - m) / (v + 1e-5).sqrt()).relu()
        for y, m, v in zip(maps, means, deviation, strict=True)
    ]
    change = float((out[0] - out[1]).abs().mean())
    variance = float(maps[0].var((0, 2, 3)).mean())
    assert score == pytest.approx(math.log(change) + math.log(variance) / 2, rel=1e-3)


def test_zen_is_of_the_network_without_shortcuts_and_gates():
    before = build(small())
    plain = scores._without(before, scores.SqueezeExcite, scores.Residual)
    kinds = {type(m).__name__ for m in plain.modules()}
    assert not kinds & {"SqueezeExcite", "Residual"}
    assert "Residual" in {type(m).__name__ for m in before.modules()}


def test_meco_is_the_smallest_eigenvalue_of_channel_correlations():
    network = nn.Conv2d(3, 4, 1, bias=False)
    torch.manual_seed(3)
    score = scores.meco(network, torch.empty(1, 3, 8, 8), torch.zeros(1))
    torch.manual_seed(3)
    rows = network.weight.detach().flatten(1) @ torch.randn(1, 3, 8, 8)[0].flatten(1)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows.numpy()))
    assert score == pytest.approx(eigenvalues[0], abs=1e-6)


class Blocks(nn.Module):
    """A stem and a chain of blocks, as `Network` has them."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Sequential(*blocks))

    def forward(self, x):
        return self.blocks(x)


class Scaled(nn.Module):
    """The input times a number, or its first channel alone."""

    def __init__(self, factor: float, channels: int = 3) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.channels = channels

    def forward(self, x):
        return self.factor * x[:, : self.channels]


def test_expressivity_and_progressivity_are_entropies_of_principal_components():
    images, labels = torch.empty(16, 3, 32, 32), torch.zeros(16)
    network = Blocks(Scaled(1.0), Scaled(2.0, channels=1))
    # Three equal variances, then one: entropies log 3 and 0.
    assert scores.expressivity(network, images, labels) == pytest.approx(math.log(3), abs=1e-3)
    assert scores.progressivity(network, images, labels) == pytest.approx(-math.log(3), abs=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_trainability_is_largest_where_gradients_keep_their_norm(factor):
    network = Blocks(Scaled(1.0), Scaled(factor))
    score = scores.trainability(network, torch.empty(16, 3, 64, 64), torch.zeros(16))
    assert score == pytest.approx(2 - factor - 1 / factor, abs=0.05)


ZERO_COST = (
    *("synflow", "grad_norm", "snip", "jacob_cov", "nwot", "zen", "zico", "meco"),
    *("expressivity", "progressivity", "trainability"),
)


@pytest.mark.parametrize("score", ZERO_COST)
def test_scores_of_a_recorded_network_are_finite_and_repeat(score):
    made = ZeroCost(score=score, resolution=64, batch_size=4)
    with one_thread():  # sums over threads differ in their last digits
        (first,), (again,) = made(small(), 0), made(small(), 0)
    assert math.isfinite(first.value)
    assert first.value == again.value


# Tasks and trainings


@pytest.mark.parametrize("name", tasks.TASKS)
def test_tasks_are_made_the_same_again(name):
    tasks.task.cache_clear()
    first = tasks.task(name, 80, 16)
    tasks.task.cache_clear()
    again = tasks.task(name, 80, 16)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert first.images.shape == (80, 3, 16, 16)
    assert abs(float(first.images.mean())) < 1e-3
    assert float(first.images.std()) == pytest.approx(1, abs=1e-3)


def test_values_to_predict_have_unit_variance():
    taught = tasks.task("shallow-teacher", 80, 16)
    assert taught.outputs == taught.labels.shape[1]
    assert torch.allclose(taught.labels.std(0), torch.ones(taught.outputs))


def test_a_training_learns_and_repeats():
    training = ShortTraining(
        task="random-labels",
        images=64,
        resolution=8,
        steps=16,
        batch_size=32,
        learning_rate=3e-3,
        optimiser="adam",
        reads=(2, 16),
    )
    readings = list(training(small(), 0))
    assert [r.name for r in readings] == ["loss@2", "loss@16", "loss sum"]
    early, late, _sum = (r.value for r in readings)
    assert late > early + 0.3
    assert [r.value for r in training(small(), 0)] == [r.value for r in readings]


def test_a_diverged_training_is_a_reading_that_ranks_last():
    training = ShortTraining(
        task="shallow-teacher",
        images=64,
        resolution=8,
        steps=6,
        batch_size=32,
        learning_rate=1e30,
        reads=(6,),
    )
    last = list(training(small(), 0))[-1]
    assert not math.isfinite(last.value)


def test_ridge_on_features_tells_what_features_tell():
    made = RandomFeatures(task="figures", images=128, resolution=32)
    accuracy, error = made(small(), 0)
    assert 0 <= accuracy.value < 0.3  # of 64 classes, from an untrained network
    assert error.value < 0
    from mnas_search.benchmarks.ranking.trained import _ridge

    features = torch.randn(200, 10, dtype=torch.float64)
    answers = features @ torch.randn(10, 2, dtype=torch.float64) + 3
    fitted = _ridge(features[:100], answers[:100], 1e-9)(features[100:])
    assert torch.allclose(fitted, answers[100:], atol=1e-5)


# Tables


def trial(name: str, count: int = 20, score: str = "log_params") -> Trial:
    made = Structure(score=score)
    return Trial(name=name, kind="structure", measure=made, selection=count, confirmation=count)


def test_a_combination_is_the_mean_of_ranks():
    rows = networks.sample("selection", 4).rows.tolist()
    values = {"a": (1.0, 5.0, 3.0, 2.0), "b": (40.0, 10.0, 20.0, float("nan"))}

    def read(t: Trial) -> dict[int, tuple[Reading, ...]]:
        return {
            row: (Reading(name="", value=value, seconds=1.0),)
            for row, value in zip(rows, values[t.name], strict=True)
        }

    both = Combination(name="both", parts=("a", "b"))
    logs = Combination(name="logs", parts=("a", "b"), logarithms=True)
    found = table.columns([trial("a", 4), trial("b", 4)], [both, logs], read, "selection")
    assert [c.name for c in found] == ["a", "b", "both", "logs"]
    assert list(found[2].values.values()) == pytest.approx(
        [found[2].values[row] for row in sorted(rows)]
    )
    ranks = dict(zip(rows, ((1, 4), (4, 2), (3, 3), (2, 1)), strict=True))
    for row in rows:
        assert found[2].values[row] == pytest.approx(sum(ranks[row]) / 2)
        assert found[3].values[row] == pytest.approx(sum(map(math.log, ranks[row])) / 2)
    assert found[2].seconds == 2


def test_params_as_a_proxy_equal_the_baseline_that_they_are():
    drawn = networks.sample("confirmation", 40)
    column = table.Column(
        name="oracle",
        kind="training",
        values=dict(zip(drawn.rows.tolist(), drawn.accuracy.tolist(), strict=True)),
        seconds=1.0,
    )
    (row,) = table.rows([column], "confirmation")
    assert row.tau.value == 1
    assert row.fair == 1
    known = {
        name: kendalltau(values, drawn.accuracy).statistic
        for name, values in table.baselines(drawn).items()
    }
    assert row.baseline == max(known, key=known.__getitem__)
    assert row.difference.value == pytest.approx(1 - max(known.values()))
    assert row.difference.above_zero
    assert not row.passes  # forty networks confirm nothing
    counted = dict(zip(drawn.rows.tolist(), np.log(drawn.params).tolist(), strict=True))
    counts = table.Column(name="counts", kind="structure", values=counted, seconds=0.0)
    gain = table.against(column, counts, "confirmation")
    assert gain.value == pytest.approx(1 - known["params"])


def test_the_fitted_yardstick_sees_no_network_of_a_draw(monkeypatch):
    monkeypatch.setattr(table, "_FITTED_ON", 200)
    fitted = table.fitted("confirmation")
    drawn = networks.sample("confirmation", networks.MAX_NETWORKS)
    assert list(fitted.values) == drawn.rows.tolist()
    assert not set(networks.others(5_000)) & set(drawn.rows)
    (row,) = table.rows([fitted], "confirmation")
    assert row.difference.value > 0  # six counts tell more than two
    assert table.choice([row]) is None


def test_what_is_chosen_is_eligible_and_no_count():
    drawn = networks.sample("selection", 120)
    exact = dict(zip(drawn.rows.tolist(), drawn.accuracy.tolist(), strict=True))
    noise = np.random.default_rng(0).normal(0, 0.02, 120)
    near = {row: value + e for (row, value), e in zip(exact.items(), noise, strict=True)}
    far = {row: value + 3 * e for (row, value), e in zip(exact.items(), noise, strict=True)}

    def column(name: str, kind: str, values: dict[int, float], seconds: float) -> table.Column:
        return table.Column(name=name, kind=kind, values=values, seconds=seconds)

    fewer = dict(list(exact.items())[:100])
    found = list(
        table.rows(
            [
                column("count", "structure", exact, 0.0),
                column("fit", "fitted", exact, 0.0),
                column("slow", "training", exact, 61.0),
                column("fewer", "training", fewer, 1.0),
                column("far", "zero-cost", far, 1.0),
                column("near", "zero-cost", near, 1.0),
            ],
            "selection",
        )
    )
    assert table.choice([row for row in found if row.networks < 100]) is None
    taken = table.choice(found)
    assert taken is not None and taken.column.name == "near"


# The store and the command


def test_a_torn_line_is_computed_again_and_no_other(tmp_path):
    store, made = Store(folder=tmp_path), trial("log_params")
    first, second = networks.sample("selection", 2).rows.tolist()
    for row in (first, second):
        store.append(Work(trial=made, row=row), measure(Work(trial=made, row=row)))
    (file,) = (tmp_path / "readings").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert list(store.read(made)) == [first]
    store.append(Work(trial=made, row=second), measure(Work(trial=made, row=second)))
    assert list(store.read(made)) == [first, second]
    assert store.read(trial("log_params", score="log_macs")) == {}


def test_no_number_survives_the_store(tmp_path):
    store, made = Store(folder=tmp_path), trial("log_params")
    store.append(Work(trial=made, row=3), [Reading(name="", value=float("-inf"), seconds=0.5)])
    (reading,) = store.read(made)[3]
    assert math.isnan(reading.value)


@pytest.mark.full
def test_the_command_computes_once_and_reports(run_cli, tmp_path):
    command = ("bench", "ranking", "--results", tmp_path, "--quick", "--networks", 3)
    options = ("--processes", 1, "--format", "json")
    code, out, err = run_cli(*command, *options)
    assert code == 0, err
    records = json.loads(out)["records"]
    names = {record["trial"] for record in records}
    assert {"log_params", "snip", "zen", "params+snip"} <= names
    assert all(record["networks"] == 3 for record in records)
    assert "24 readings to be had" in err
    code, out, err = run_cli(*command, *options)
    assert "0 readings to be had" in err
    assert json.loads(out)["records"] == records
    text = (tmp_path / "ranking.md").read_text()
    assert "## Draw `selection`" in text and "## Draw `confirmation`" in text
    raw = gzip.decompress((tmp_path / "ranking-readings.csv.gz").read_bytes()).decode()
    assert len(raw.splitlines()) == 25
    # The library says the same of one network.
    row = int(networks.sample("confirmation", 2).rows[0])
    made = ZeroCost(score="snip", resolution=64, batch_size=32)
    with one_thread():
        (reading,) = made(networks.network(row), 0)
    assert f"snip,,{row},{reading.value:.6g}," in raw


def test_report_only_computes_nothing(run_cli, tmp_path):
    code, _out, err = run_cli(
        "bench", "ranking", "--results", tmp_path, "--quick", "--report-only"
    )
    assert code == 2
    assert "no readings in" in err
    assert not (tmp_path / "readings").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "sniff"), "trial must be one of log_macs, log_params"),
        (("--networks", 999), "--networks must be from 2 to 300, got 999"),
    ],
)
def test_wrong_options_are_one_line(run_cli, tmp_path, options, message):
    code, _out, err = run_cli("bench", "ranking", "--results", tmp_path, *options)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_the_figure_is_drawn(tmp_path):
    outcome = ranking.run(results=tmp_path, only=("log_params", "log_macs"), count=3)
    assert outcome.files[-1].read_bytes().startswith(b"\x89PNG")


def test_a_trial_that_fails_is_told_and_ends_nothing(tmp_path, monkeypatch):
    def broken(_architecture):
        raise ValueError("a broken score")

    monkeypatch.setattr(structure, "depth", broken)
    told = []
    outcome = ranking.run(
        results=tmp_path, only=("depth", "log_params"), count=3, note=told.append
    )
    assert len(outcome.failures) == 6
    assert "depth on network" in outcome.failures[0]
    assert "a broken score" in outcome.failures[0]
    assert {record["trial"] for record in outcome.records} == {"log_params"}
