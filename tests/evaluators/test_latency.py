"""Latency: measured in turns, predicted by tables, bounded in runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from listed_spaces import Listed, every, random_space, stage
from runs import EVALUATOR, PATIENCE, arguments, events
from strategies import SPACES, architectures

import mnas_search
from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency import Conditions, LatencyTable
from mnas_search.architecture.cost.latency.conditions import machine
from mnas_search.architecture.cost.latency.parts import WORK, parts_of, work_of
from mnas_search.architecture.cost.latency.table import (
    Latency,
    TimedNetwork,
    TimedPart,
    fit_line,
    fit_rates,
    read_table,
)
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_latency, parse_latency
from mnas_search.evaluators.latency.building import build_table, drawn, parts_of_space
from mnas_search.evaluators.latency.devices import module_of, prepare, ready
from mnas_search.evaluators.latency.measuring import check
from mnas_search.evaluators.latency.stopwatch import measure
from mnas_search.experiments.search.report.summary import summary
from mnas_search.experiments.search.run import reopen
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.choices import decode, encode, sample, sample_codes
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.space.cost import PerNetworkCost, space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.testing import ToySpace

B0 = reference.architecture("efficientnet_b0")
CONTROLLERS = [p.name for p in plugins.installed("controllers")]
RATES = (2e-5, 3e-11, 5e-11, 2e-10, 1e-9, 5e-10, 1e-10)


def timed(part, rng):
    seconds = float(np.dot(RATES, work_of(part.plan, 1)) * rng.uniform(0.8, 1.2))
    latency = Latency(seconds=seconds, low=0.9 * seconds, high=1.1 * seconds)
    return TimedPart(latency=latency, work=work_of(part.plan, 1))


def table_of(space, *, seed=0, factor=1.2):
    """A table of a device that there is not; each part has its own time."""
    rng = np.random.default_rng(seed)
    return LatencyTable(
        conditions=Conditions(),
        machine={"processor": "none that is"},
        reference=0.02,
        parts={part.key: timed(part, rng) for part in parts_of_space(space)},
        rates=RATES,
        offset=0.001,
        factor=factor,
    )


class Small(Listed):
    """Four networks of 32 pixels."""

    def __init__(self, *, resolution=32, num_classes=10):
        super().__init__(
            (stage("ir", 3, 6, 8), stage("ir", 5, 6, 8)),
            (stage("ds", 3, 1, 16), stage("cn", 3, 1, 16)),
        )


SMALL = f"{Path(__file__)}:Small"


# -- parts -------------------------------------------------------------------------------------


@given(architectures())
def test_parts_are_the_whole_network(architecture):
    parts = parts_of(architecture)
    counted = cost(architecture)
    assert sum(part.plan.macs for part in parts) == counted.macs
    assert sum(part.plan.params for part in parts) == counted.params
    for part in parts:
        work = dict(zip(WORK, work_of(part.plan, 3), strict=True))
        macs = sum(amount for name, amount in work.items() if name.startswith("MACs"))
        assert macs == 3 * part.plan.macs


@given(st.sampled_from(sorted(SPACES)), st.integers(0, 10**6))
def test_a_space_has_the_parts_of_all_its_networks(name, seed):
    space = SPACES[name]
    keys = {part.key for part in parts_of_space(space)}
    network = space.decode(sample(space.decisions, np.random.default_rng(seed)))
    assert {part.key for part in parts_of(network)} <= keys


@pytest.mark.parametrize("seed", range(5))
def test_a_space_has_no_other_parts(seed):
    space = random_space(seed)
    networks = [space.decode(decode(space.decisions, row)) for row in every(space)]
    assert {part.key for part in parts_of_space(space)} == {
        part.key for network in networks for part in parts_of(network)
    }


@pytest.mark.parametrize(
    "architecture",
    [
        B0,
        reference.architecture("mobilenet_v2"),
        reference.architecture("resnet18"),
        replace(B0, padding="same", head_channels=None),
    ],
    ids=lambda architecture: f"{architecture.label}-{architecture.padding}",
)
def test_modules_of_parts_make_up_the_network(architecture):
    """Each takes what the one before gives, and together they have the network's parameters."""
    architecture = replace(architecture, resolution=64)
    x = torch.randn(2, 3, 64, 64)
    params = 0
    for part in parts_of(architecture):
        assert x.shape == (2, *part.shape)
        module = module_of(part).eval()
        params += sum(p.numel() for p in module.parameters())
        with torch.inference_mode():
            x = module(x)
    assert x.shape == (2, 1000)
    assert params == cost(architecture).params


def test_keys_tell_parts_apart():
    block = parts_of(B0)[3]
    others = [
        replace(B0, activation="relu"),
        replace(B0, resolution=192),
        replace(B0, padding="same"),
        replace(B0, num_classes=10),
    ]
    whole = {part.key for part in parts_of(B0)}
    for other in others:
        assert {part.key for part in parts_of(other)} != whole
    wide = replace(B0, num_classes=1280)
    headless = replace(wide, head_channels=None)
    assert parts_of(wide)[-1].key != parts_of(headless)[-1].key
    assert "mbconv" not in block.key and block.key.startswith("ir k3 s1 24-144-24 se6 56px")


def test_a_block_without_layers_has_a_shape():
    block = parts_of(B0)[3]
    bare = replace(block, plan=replace(block.plan, layers=()))
    assert bare.shape == block.shape == (24, 56, 56)


def counting(table):
    return CostModel(metrics=("latency",), latency_table=table)


# -- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_batches_are_predicted_as_networks_are(name):
    space = SPACES[name]
    table = table_of(space)
    codes = sample_codes(space.decisions, 200, np.random.default_rng(0))
    networks = [space.decode(decode(space.decisions, row)) for row in codes]
    one_by_one = [table.predict(network) for network in networks]
    assert all(one.timed == pytest.approx(1) for one in one_by_one)
    seconds = [one.seconds for one in one_by_one]
    np.testing.assert_allclose(space_cost(space, counting(table))(codes)["latency"], seconds)
    np.testing.assert_allclose(PerNetworkCost(space, counting(table))(codes)["latency"], seconds)
    np.testing.assert_allclose(
        problem(space, _latency(), model=counting(table)).target_cost(codes), seconds
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_reachable_range_is_exact(seed):
    space = random_space(seed)
    counter = space_cost(space, counting(table_of(space, seed=seed)))
    seconds = counter(every(space))["latency"]
    assert counter.feasible_range("latency").low == pytest.approx(seconds.min())
    assert counter.feasible_range("latency").high == pytest.approx(seconds.max())


def test_a_prediction_is_offset_and_factor_times_the_sum():
    space = ToySpace()
    network = space.decode({d.name: d.options[0] for d in space.decisions})
    table = table_of(space, factor=1.5)
    parts = [table.parts[part.key].latency.seconds for part in parts_of(network)]
    assert table.predict(network).seconds == pytest.approx(0.001 + 1.5 * sum(parts))


def test_other_parts_are_estimated():
    space = SPACES["efficientnet"]
    table = table_of(space)
    rates = fit_rates(list(table.parts.values()))
    table = replace(table, rates=rates, offset=0.0, factor=1.0)
    b1 = reference.architecture("efficientnet_b1")
    found = table.predict(b1)
    assert found.timed < 0.1
    truth = sum(np.dot(RATES, work_of(part.plan, 1)) for part in parts_of(b1))
    assert found.seconds == pytest.approx(truth, rel=0.15)
    few = replace(table, rates=fit_rates(list(table.parts.values())[:20]))
    assert few.rates is None
    with pytest.raises(UsageError, match=r"no part 'stem .* 170 parts are too few to estimate"):
        few.predict(b1)


def test_offset_and_factor_are_fitted_to_whole_networks():
    sums = [0.01, 0.02, 0.04]
    assert fit_line(sums, [0.002 + 1.1 * s for s in sums]) == pytest.approx((0.002, 1.1))
    assert fit_line(sums, [1.1 * s - 0.002 for s in sums])[0] == 0
    assert fit_line(sums[:2], [0.02, 0.03]) == pytest.approx((0, 1.68))


@pytest.mark.parametrize(
    ("sums", "seconds"),
    [
        ([0.02] * 3, [0.03] * 3),
        ([0.0200, 0.0201, 0.0202], [0.0303, 0.0302, 0.0301]),
        ([0.01, 0.02, 0.03], [0.03, 0.03, 0.03]),
    ],
)
def test_networks_that_tell_no_slope_give_a_factor_alone(sums, seconds):
    offset, factor = fit_line(sums, seconds)
    assert offset == 0 and 0.9 < factor < 3


def test_rates_that_say_nothing():
    nothing = replace(table_of(Small()), parts={}, rates=(0.0,) * len(WORK))
    with pytest.raises(UsageError, match="the table predicts 0 seconds for 'efficientnet_b0'"):
        nothing.predict(B0)


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = replace(table_of(ToySpace()), whole={"a": TimedNetwork(parts=1.0, seconds=1.5)})
    path = table.write(tmp_path / "table.json")
    assert read_table(path) == table
    assert read_table(path).sha256 == table.sha256
    unfinished = replace(table, factor=None, rates=None)
    assert read_table(unfinished.write(path)) == unfinished
    with pytest.raises(
        UsageError, match="not finished: run `mnas-search latency build` to its end"
    ):
        unfinished.predict(B0)


def _changed(change):
    value = json.loads(json.dumps(table_of(Small()).to_dict()))
    change(value)
    return json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": "mnas-search latency table 1"}',
        _changed(lambda v: v.update(format="another")),
        _changed(lambda v: v.update(factor=-1)),
        _changed(lambda v: v.update(factor="1e999")),
        _changed(lambda v: v.update(offset=-1)),
        _changed(lambda v: v["conditions"].update(device="banana")),
        _changed(lambda v: v["conditions"].update(more=1)),
        _changed(lambda v: v["conditions"].update(threads=0)),
        _changed(lambda v: v["conditions"].update(batch_size=10**400)),
        _changed(lambda v: v["reference"].update(seconds=0)),
        _changed(lambda v: v["reference"].update(seconds=10**400)),
        _changed(lambda v: v.update(offset=1e300)),
        _changed(lambda v: v.update(networks={"a": [1]})),
        _changed(lambda v: v.update(networks={"a": [1, 0]})),
        _changed(lambda v: v.update(networks=[1])),
        _changed(lambda v: v["rates"].popitem()),
        _changed(lambda v: v["parts"].update(a=[1, 2])),
        _changed(lambda v: v["parts"].update(a=[float("nan"), 1, 1, [0] * 7])),
        _changed(lambda v: v["parts"].update(a=[1, 1, 1, [-1] * 7])),
        _changed(lambda v: v["parts"].update(a=[1, 1, 1, None])),
        _changed(lambda v: v["parts"].update(a=[1e300, 1, 1, [0] * 7])),
    ],
)
def test_what_is_no_table(tmp_path, run_cli, text):
    path = tmp_path / "table.json"
    path.write_text(text)
    code, out, err = run_cli("latency", "predict", "efficientnet_b0", "--table", path)
    assert (code, out) == (2, "")
    assert (
        "table.json' must be a file written by `mnas-search latency build`" in err
        and err.count("\n") == 1
    )
    code, _, err = run_cli("latency", "build", "-o", path)
    assert code == 2 and path.read_text() == text


# -- measuring ---------------------------------------------------------------------------------


def busy(seconds):
    def run():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return run


def test_times_are_shares_of_the_reference():
    session = measure([busy(0.001), busy(0.004)], busy(0.002), turns=7)
    one, two = session.latencies()
    assert one.low <= one.seconds <= one.high
    assert 0.3 < one.seconds / session.reference < 0.8
    assert 1.3 < two.seconds / session.reference < 3
    slower = session.latencies(2 * session.reference)
    assert slower[0].seconds == pytest.approx(2 * one.seconds)


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("compiled", marks=pytest.mark.full), "onnxruntime"]
)
def test_every_device_runs_every_part(device):
    if device == "onnxruntime":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    if device == "compiled" and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("torch.compile needs a compiler")
    conditions = Conditions(device=device, batch_size=2)
    network = Small().decode({"s0": 0, "s1": 1})
    with ready(conditions):
        for part in parts_of(network):
            prepare(module_of(part), torch.randn(2, *part.shape), conditions)()


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with ready(Conditions(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with (
        pytest.raises(UsageError, match="requires a GPU that torch finds"),
        ready(Conditions(device="cuda")),
    ):
        pass


def test_a_table_of_a_space_and_of_networks():
    """What was timed once is kept; more is added; the factor fits whole networks."""
    space = Small()
    kept = []
    table = build_table(space, [], Conditions(), turns=2, keep=kept.append)
    assert set(table.parts) == {part.key for part in parts_of_space(space)}
    assert kept[-1] == table and all(one.factor is None for one in kept[:-1])
    assert table.factor > 0 and dict(table.machine) == machine(Conditions())
    one = reference.architecture("mobilenet_v2")
    one = replace(one, resolution=32)
    kept.clear()
    more = build_table(None, [one], Conditions(), begun=table, turns=1, keep=kept.append)
    assert all(grown.factor is not None for grown in kept)  # it serves all the time
    assert more.reference == table.reference
    assert {key: more.parts[key] for key in table.parts} == table.parts
    assert more.predict(one).timed == pytest.approx(1)
    assert set(more.whole) == {*table.whole, one.fingerprint}
    assert build_table(space, [one], Conditions(), begun=more, turns=1) == more
    found = check(drawn(space, 4, 1), more, turns=2)
    assert len(found.networks) == 4 and found.drift > 0
    assert all(np.isfinite(one.error) for one in found.networks)


def test_tables_are_not_mixed():
    table = replace(table_of(Small()), machine=machine(Conditions()))
    for other in (Conditions(threads=2), Conditions(batch_size=2)):
        with pytest.raises(UsageError, match=r"the table's \(cpu, 1 thread, batch 1 on "):
            build_table(Small(), [], other, begun=table, turns=1)
    with pytest.raises(
        UsageError, match=r"the table's \(cpu, 1 thread, batch 1 on .*none that is\), got cpu"
    ):
        build_table(Small(), [], Conditions(), begun=table_of(Small()), turns=1)


def test_a_space_without_stages_has_no_table():
    class Plain(SearchSpace):
        decisions = ToySpace().decisions

        def decode(self, choices):
            return ToySpace().decode(choices)

    with pytest.raises(
        UsageError, match=r"a latency table requires a StagewiseSpace .*, got Plain"
    ):
        build_table(Plain(), [], Conditions(), turns=1)


@pytest.mark.full
def test_a_killed_build_goes_on(tmp_path):
    path = tmp_path / "table.json"
    command = [sys.executable, "-m", "mnas_search", "latency", "build", "--resolution", "32"]
    command += ["--turns", "1", "-o", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = read_table(path)
    assert before.factor is None
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    after = read_table(path)
    assert after.factor is not None and len(after.parts) == 170
    assert {key: after.parts[key] for key in before.parts} == before.parts
    assert after.reference == before.reference


# -- the command line --------------------------------------------------------------------------


def test_build_predict_measure(run_cli, tmp_path):
    path = tmp_path / "table.json"
    build = ("latency", "build", "--space", SMALL, "--turns", 1, "-o", path)
    code, out, err = run_cli(*build)
    assert code == 0, err
    assert "6 parts, cpu, 1 thread, batch 1; whole networks take " in " ".join(out.split())
    first = path.read_text()
    predict = ("latency", "predict", "--table", path, "--space", SMALL, "--sample", 3)
    code, out, err = run_cli(*predict, "--format", "json")
    assert code == 0, err
    for row in json.loads(out):
        assert set(row) == {"name", "predicted_ms", "timed"}
        assert row["timed"] == 1 and row["predicted_ms"] > 0
    code, out, err = run_cli(*predict, "--measure", "--turns", 2)
    assert code == 0, err
    assert "median error " in out and "Kendall's tau " in out and "the reference network" in out
    code, _, err = run_cli(*build, "--threads", 2)
    assert code == 2 and "must be the table's (cpu, 1 thread, batch 1 on " in err
    assert path.read_text() == first


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", "phone"), "device must be cpu, compiled, onnxruntime or cuda, got 'phone'"),
        (("--threads", 0), "threads must be a whole number from 1 to 1,024, got 0"),
        (("--threads", 10**30), "threads must be a whole number from 1 to 1,024, got 1000"),
        (
            ("--batch-size", 10**6),
            "batch_size must be a whole number from 1 to 65,536, got 1000000",
        ),
        (("--batch-size", -1), "batch_size must be a whole number from 1 to 65,536, got -1"),
        (("banana",), "'banana'"),
        (("--space", "banana"), "file.py:Name, got 'banana'"),
    ],
)
def test_builds_that_are_refused(run_cli, tmp_path, arguments, says):
    code, out, err = run_cli("latency", "build", *arguments, "-o", tmp_path / "t.json")
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    assert not (tmp_path / "t.json").exists()


def test_predictions_that_are_refused(run_cli, tmp_path):
    path = table_of(SPACES["efficientnet"]).write(tmp_path / "t.json")
    for given_, says in (
        ((), "ARCH or --sample is required"),
        (("--sample", 3, "--seed", 0), "--seed must not be 0"),
    ):
        code, out, err = run_cli("latency", "predict", "--table", path, *given_)
        assert (code, out) == (2, "") and says in err
    more = ("--sample", 1, "--measure", "--turns", 1)
    code, out, err = run_cli("latency", "predict", "--table", path, *more)
    assert code == 0 and "the table was built on another machine, or with other packages" in out
    code, _, err = run_cli("latency", "predict", B0.label, "--table", tmp_path / "none")
    assert code == 2 and "cannot read" in err


def test_evaluate_measures_latency(run_cli):
    name = "ds_r1_k3_s2_e1_c8"
    code, out, err = run_cli("evaluate", "--evaluator", "latency", name, "--format", "json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["name"], row["accuracy"], row["std"]) == (name, None, None)
    assert 0 < row["low_ms"] <= row["latency_ms"] <= row["high_ms"]
    assert row["conditions"] == "cpu, 1 thread, batch 1"
    for given_, says in (
        (
            ("--evaluator", "latency", "--data", "digits"),
            "--data 'digits' cannot be used with 'latency'",
        ),
        (
            ("--evaluator", "latency", "--device", "phone"),
            "device must be cpu, compiled, onnxruntime or cuda, got 'phone'",
        ),
        (
            ("--evaluator", EVALUATOR, "--device", "cpu"),
            "--device 'cpu' requires --evaluator latency",
        ),
    ):
        code, out, err = run_cli("evaluate", name, *given_)
        assert (code, out) == (2, "") and says in err


def test_a_search_wants_accuracies(run_cli, tmp_path):
    options = {"evaluator": "latency", "target-flops": "400M"}
    code, _, err = run_cli("run", *arguments(tmp_path / "run", **options))
    assert code == 2 and "evaluator must measure accuracy, got " in err


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("0.02 s", 0.02), ("500us", 5e-4), ("1.5S", 1.5)]
)
def test_latencies(text, seconds):
    assert parse_latency(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["20", "", "0ms", "-1ms", "20m", "banana", "nan s", "1e999s"])
def test_what_is_no_latency(text):
    with pytest.raises(UsageError, match="a positive latency with its unit such as 20ms"):
        parse_latency(text)


def test_latencies_in_words():
    said = [format_latency(s) for s in (0.02, 0.00512, 0.1234, 0.000512, 0.9996, 1.25, 12.5)]
    assert said[:4] == ["20.0 ms", "5.12 ms", "123 ms", "0.512 ms"]
    assert said[4:] == ["1,000 ms", "1,250 ms", "12,500 ms"]


@pytest.mark.full
def test_bench_exports(run_cli):
    """Beside no other library where none imports."""
    code, out, err = run_cli("bench", "exports", "--quick", "--only", "cpu", "--format", "json")
    assert code == 0, err
    first, *others = json.loads(out)
    assert (first["library"], first["ours over it"], first["pixels"]) == ("mnas-search", 1, 64)
    assert {row["library"] for row in others} <= {"timm", "torchvision"}
    assert 0 < first["low"] <= first["median, ms"] <= first["high"]


# -- objectives and controllers ----------------------------------------------------------------


def _latency(target=0.01):
    return Objective(target=target, metric="latency")


def test_the_reward_is_that_of_latency():
    """MnasNet's equation 2."""
    table = table_of(ToySpace())
    objective = _latency(target=0.075)
    assert objective.reward(0.75, 0.15) == pytest.approx(0.75 * 2**-0.07)
    network = ToySpace().decode({d.name: d.options[0] for d in ToySpace().decisions})
    seconds = table.predict(network).seconds
    expected = 0.75 * (seconds / 0.075) ** -0.07
    costs = counting(table).costs(network)
    assert objective.reward_of(0.75, costs) == pytest.approx(expected)
    assert costs["latency"] == seconds
    assert objective.constraint == "75.0 ms"
    both = Objective(target=4e8, max_latency=0.02)
    assert both.constraint == "400M FLOPs and 20.0 ms"
    assert both.is_feasible({"macs": 3e8, "latency": 0.02})
    assert not both.is_feasible({"macs": 3e8, "latency": 0.021})
    assert both.reward(0.75, 2e8) == Objective(target=4e8).reward(0.75, 2e8)


def test_objectives_that_are_refused():
    with pytest.raises(UsageError, match="metric must be one of flops, latency, memory, got"):
        Objective(target=1, metric="banana")
    with pytest.raises(UsageError, match="a bound on latency requires a latency table"):
        problem(ToySpace(), _latency(target=0.02))
    with pytest.raises(UsageError, match="target latency must be a positive number, got 0"):
        _latency(target=0)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_controller_keeps_a_tight_latency(name):
    space = SPACES["efficientnet"]
    table = table_of(space)
    draws = sample_codes(space.decisions, 2_000, np.random.default_rng(0))
    seconds = space_cost(space, counting(table))(draws)["latency"]
    given_ = problem(space, _latency(float(np.quantile(seconds, 0.2))), model=counting(table))
    controller = plugins.load("controllers", name)(given_)
    asked = [controller.ask(np.random.default_rng((0, k))) for k in range(30)]
    codes = np.array([encode(space.decisions, choices) for choices in asked])
    assert given_.is_feasible(codes).all()
    assert (given_.target_cost(codes) <= given_.objective.target).all()


# -- runs --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A search of four networks, by a table that is built at its start, on this machine."""
    folder = tmp_path_factory.mktemp("latency") / "mine"
    result = mnas_search.search(
        target_latency="1s",
        space=SMALL,
        controller="random_search",
        evaluator=EVALUATOR,
        trials=4,
        workers=0,
        output=folder,
    )
    return folder, result


def test_a_run_under_a_latency(done, run_cli):
    folder, result = done
    table = read_table(folder / "latency.json")
    best = json.loads((folder / "best.json").read_text())
    assert best["latency"] == table.predict(result.architecture).seconds
    for event in events(folder):
        if event["event"] == "tell":
            assert event["reward"] == pytest.approx(event["accuracy"] * event["latency"] ** -0.07)
    (measured,) = [e for e in events(folder) if e["event"] == "latency"]
    assert measured["fingerprint"] == best["fingerprint"]
    assert measured["low"] <= measured["seconds"] <= measured["high"]
    ((label, (predicted, seen)),) = result.latencies.items()
    assert label == f"trial {best['trial']}, winner"
    assert predicted == best["latency"] and seen.seconds == measured["seconds"]
    header = (folder / "trials.csv").read_text().splitlines()[0]
    assert header.endswith(",error,latency")
    page = (folder / "report.html").read_text()
    assert "Latency, predicted and measured" in page and "T = 1,000 ms" in page
    before = (folder / "journal.jsonl").read_text()
    code, out, err = run_cli("resume", folder)
    assert code == 0, err
    words = " ".join(out.split())
    assert "winner within 1,000 ms" in words and " ms measured on the device" in words
    assert "latency is that of cpu, 1 thread, batch 1, " in words
    after = (folder / "journal.jsonl").read_text()
    assert after.startswith(before) and after.count('"latency", "fing') == 1


def test_a_run_by_a_table_of_another_machine(run_cli, tmp_path):
    """The winner is predicted, and not measured; a file that is changed is refused."""
    path = table_of(SPACES["efficientnet"]).write(tmp_path / "t.json")
    folder = tmp_path / "run"
    options = {"target-flops": "400M", "target-latency": "12ms", "latency-table": path}
    command = ("run", *arguments(folder, trials=8, **options))
    code, out, err = run_cli(*command)
    assert code == 0, err
    words = " ".join(out.split())
    assert "winner within 400M FLOPs and 12.0 ms" in words
    assert " ms, reward " in err  # the best one's, with the progress
    assert "the winner's latency was not measured: the table is of another machine" in words
    assert "the limit on latency " in words
    tells = [e for e in events(folder) if e["event"] == "tell"]
    assert all(e["latency"] <= 0.012 for e in tells)
    path.unlink()
    code, _, err = run_cli("resume", folder)
    assert code == 0, err
    table_of(SPACES["efficientnet"], seed=1).write(path)
    code, _, err = run_cli(*command)
    assert code == 2 and "t.json' has changed since the run" in err
    table_of(SPACES["efficientnet"], seed=1).write(folder / "latency.json")
    code, _, err = run_cli("resume", folder)
    assert code == 2 and "has changed since the run" in err


@pytest.fixture
def copied(done, tmp_path):
    return Path(shutil.copytree(done[0], tmp_path / "mine"))


def test_a_winner_that_was_not_measured_yet(copied):
    """As in a report of a run that continues: no other machine is blamed."""
    path = copied / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"latency", "fing' not in line))
    said = summary(reopen(copied))["notes"]
    assert "the winner's latency was not measured" in said


def test_a_table_that_is_changed(copied, run_cli):
    table_of(Small()).write(copied / "latency.json")
    code, _, err = run_cli("resume", copied)
    assert code == 2 and "latency_table' has changed since the run" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_run_by_a_table_of_a_device_that_is_not_here(run_cli, tmp_path):
    """And of another resolution: then all is estimated, and said to be."""
    table = replace(table_of(SPACES["efficientnet"]), conditions=Conditions(device="cuda"))
    path = table.write(tmp_path / "t.json")
    options = {"target-flops": None, "target-latency": "12ms", "latency-table": path}
    command = arguments(tmp_path / "run", trials=2, resolution=192, **options)
    code, out, err = run_cli("run", *command)
    assert code == 0, err
    words = " ".join(out.split())
    assert "was not measured: the table is of another machine" in words
    assert "100% of the winner's predicted latency is estimated" in words


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target-latency": "20"}, "with its unit such as 20ms, 0.02s or 500us, got '20'"),
        ({"target-latency": "1us"}, "'efficientnet' has 0.00100 ms or less (range: "),
        (
            {"target-latency": "20ms", "device": "cuda"},
            "device must be 'cpu', the device of the table ",
        ),
        (
            {"target-latency": None, "target-flops": "400M"},
            "--device and --latency-table require --target-latency",
        ),
        ({"target-latency": None}, "--device and --latency-table require --target-latency"),
        ({"target-latency": "20ms", "latency-table": "none.json"}, "cannot read "),
        # One line: nothing is timed before.
        (
            {"target-latency": "20ms", "latency-table": None, "controller": "banana"},
            "controller must be one of ",
        ),
        (
            {"target-latency": "20ms", "latency-table": None, "exponent": 0.07},
            "exponent must be a number of at most 0, got 0.07",
        ),
    ],
)
def test_runs_that_are_refused(run_cli, tmp_path, change, says):
    path = table_of(SPACES["efficientnet"]).write(tmp_path / "t.json")
    options = {"target-flops": None, "latency-table": path, **change}
    if options["target-flops"] is None and options["target-latency"] is None:
        options["latency-table"], says = None, "a run requires a target: --target-flops"
    folder = tmp_path / "run"
    code, out, err = run_cli("run", *arguments(folder, **options))
    assert (code, out) == (2, "")
    assert says in err and err.count("\n") == 1
    assert not folder.exists()


def test_a_folder_that_is_taken_is_refused_before_anything_is_timed(run_cli, tmp_path):
    options = {"target-flops": None, "target-latency": "20ms"}
    tmp_path.joinpath("mine.txt").write_text("mine")
    code, _, err = run_cli("run", *arguments(tmp_path, **options))
    assert code == 2 and "is no run's folder, and not empty" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"target-memory": "20M"}, "20MB-1"),
        ({"target-latency": "12ms"}, "12ms-1"),
        ({"target-latency": "12.5ms", "target-flops": "400M"}, "400M-1"),
    ],
)
def test_folders_are_called_after_the_target(run_cli, tmp_path, monkeypatch, options, name):
    monkeypatch.chdir(tmp_path)
    table = table_of(SPACES["efficientnet"]).write(tmp_path / "t.json")
    if "target-latency" in options:
        options = {**options, "latency-table": table}
    options = {"target-flops": None, "trials": 2, **options}
    code, _, err = run_cli("run", *arguments(None, **options))
    assert code == 0, err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [name]


def test_a_journal_with_strange_latencies(done, run_cli, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done[0], folder)
    with (folder / "journal.jsonl").open("a") as file:
        event = {"event": "latency", "fingerprint": "0", "seconds": [], "low": 1, "high": 1}
        file.write(json.dumps({**event, "time": 0}) + "\n")
    code, out, err = run_cli("report", folder)
    assert (code, out) == (2, "")
    assert "journal.jsonl line" in err and err.count("\n") == 1
    assert "is no event: seconds must be a number of at least 0, got []" in err


def test_a_run_by_memory(run_cli, tmp_path):
    folder = tmp_path / "run"
    options = {"target-flops": None, "target-memory": "20MB"}
    code, out, err = run_cli("run", *arguments(folder, trials=10, **options))
    assert code == 0, err
    assert "winner within 20MB of memory" in " ".join(out.split())
    for event in events(folder):
        if event["event"] == "tell":
            expected = event["accuracy"] * (event["inference_memory"] / 20e6) ** -0.07
            assert event["reward"] == pytest.approx(expected)
            assert event["inference_memory"] <= 20e6
    assert folder.joinpath("report.html").exists()
