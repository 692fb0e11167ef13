"""Compound scaling beyond the equations: limits, the grid search, one dimension against all."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import PATIENCE
from strategies import of_any_space

from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.blocks.arithmetic import make_divisible
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.memory import inference_memory, training_memory
from mnas_search.architecture.scaling import CompoundRule, Rounding, compound, scale
from mnas_search.architecture.scaling.limits import STEPS, largest_member, limits
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.folders import read_record, write_record
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.resolve import resolve_architecture
from mnas_search.experiments.scaling.comparison import DIMENSIONS, comparison
from mnas_search.experiments.scaling.grid import PAPER, GridConfig, candidates, choose, triples
from mnas_search.experiments.scaling.measured import MeasuredAccuracies
from mnas_search.experiments.scaling.report import comparison_figure, grid_figure, grid_words
from mnas_search.training.proxy import map_sizes

B0 = reference.architecture("efficientnet_b0")
EVALUATORS = Path(__file__).parents[1] / "evaluators_for_tests.py"
BY_PARAMS = f"{EVALUATORS}:by_params"
SLOW = f"{EVALUATORS}:slow"


# -- what rounding allows ---------------------------------------------------------------------


@given(of_any_space, st.floats(1, 4))
def test_depth_adds_exactly_the_blocks_that_it_adds(network, depth):
    deeper = scale(network, depth=depth)
    added = 0
    for old, new in zip(plan(scale(network, depth=2)).stages, deeper.stages, strict=True):
        before = len(old) // 2
        assert math.ceil(round(depth * before, 9)) == new.repeats
        added += (new.repeats - before) * old[-1].macs  # later blocks of a stage are all alike
    assert cost(deeper).macs == cost(network).macs + added


@given(of_any_space, st.floats(1, 4))
def test_width_stays_within_what_multiples_of_eight_allow(network, width):
    wider = scale(network, width=width)
    widths = [network.stem.channels, *(s.out_channels for s in network.stages)]
    widths += [network.head_channels] if network.head_channels else []
    # A width is at least 90 % of the exact one, and at most half a multiple above it, or a whole
    # one above those 90 %.
    above = max(max(width * c + 4, 0.9 * width * c + 8, 8) / c for c in widths)
    macs = cost(wider).macs / cost(network).macs
    se = 1.5  # squeeze widths are rounded down, from as little as one channel
    assert 0.9 * min(1.0, 0.9 * width) <= macs <= se * above**2


@given(st.integers(64, 448))
def test_resolution_stays_within_what_whole_pixels_allow(pixels):
    scaled = cost(replace(B0, resolution=pixels)).macs
    low = high = 0.0
    for layer in plan(B0).layers():
        side = layer.out_size if layer.out_size == 1 else pixels * layer.out_size / 224
        low += layer.weights * side**2 * (layer.op != "batch_norm")
        high += layer.weights * (side + (layer.out_size > 1)) ** 2 * (layer.op != "batch_norm")
    assert low - 1 <= scaled <= high + 1


@given(
    of_any_space,
    st.integers(-200, 200).map(lambda hundredths: hundredths / 100),
    st.sampled_from([1, 4, 8, 16]),
    st.sampled_from([1, 8, 32]),
)
def test_rounding_can_be_overridden(network, phi, channels, pixels):
    rounding = Rounding(channels=channels, resolution=pixels)
    scaled = compound(network, phi, rounding=rounding)
    assert scaled.resolution % pixels == 0
    if phi:
        assert all(stage.out_channels % channels == 0 for stage in scaled.stages)


# -- limits -----------------------------------------------------------------------------------


@given(
    of_any_space,
    st.floats(0.3, 20),
    st.floats(0.3, 20),
    st.sampled_from(["flops", "params", "both", "memory", "training"]),
)
def test_limits_are_kept_and_the_next_step_breaks_one(network, flops, params, which):
    own = cost(network)
    asked = {}
    if which in ("flops", "both"):
        asked["max_flops"] = flops * own.macs
    if which in ("params", "both"):
        asked["max_params"] = params * own.params
    if which == "memory":
        asked["max_memory"] = flops * inference_memory(network)
    if which == "training":
        asked |= {"max_memory": flops * training_memory(network, 8), "batch_size": 8}
    wanted = limits(**asked)
    fitted = largest_member(network, wanted)
    assert all(limit.is_met(fitted.member) for limit in wanted)
    assert fitted.binding
    larger = compound(network, fitted.phi + 1 / STEPS)
    broken = [limit.name for limit in wanted if not limit.is_met(larger)]
    assert tuple(broken) == fitted.binding


def test_what_binds_is_told(run_cli):
    code, out, _ = run_cli(
        "scale", "efficientnet_b0", "--max-flops", "2G", "--max-params", "10M", "--format", "json"
    )
    [row] = json.loads(out)
    assert code == 0
    assert row["binding"] == ["params"]
    assert row["params"] <= 10e6
    assert row["macs"] <= 2e9
    assert row["limits"]["params"] == {"of": 10e6, "is": row["params"]}
    code, out, _ = run_cli("scale", "efficientnet_b0", "--max-memory", "2G", "--batch-size", "32")
    assert code == 0
    assert "binds: memory of training at batch 32" in out


def test_a_larger_network_than_any_can_be_has_no_binding_limit():
    fitted = largest_member(B0, limits(max_flops=1e30))
    assert fitted.binding == ()
    with pytest.raises(UsageError):
        compound(B0, fitted.phi + 1 / STEPS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-params", "1000"], "max params must be "),
        (["--max-flops", "banana"], "'banana'"),
        (["--alpha", "0.9", "--phi", "1"], "alpha must be 1 or more (equation 3), got 0.9"),
        (["--alpha", "1", "--beta", "1", "--gamma", "1", "--max-flops", "2G"], "got 1 for each"),
        (["--grid-search", "--step", "0.4", "--tolerance", "0.01"], "0 triples"),
        (["--grid-search", "--tolerance", "0"], "tolerance must be a number in (0, 1], got 0.0"),
        (
            ["--grid-search", "--alpha", "1.2"],
            "or --compare, got --grid-search",
        ),
        (["--grid-search", "--compare"], "--grid-search and --compare exclude each other"),
        (["--grid-search", "--max-flops", "1M"], "none of 22 triples is within the limits"),
        (["--grid-search", "--seeds", "1"], "seeds must be a whole number of 2 or more, got 1"),
        (
            ["--compare", "--budgets", "100M"],
            "above the 385,814,752 FLOPs of the base, got 100M",
        ),
        (["--compare", "--seeds", "2"], "--seeds with --compare requires --data or --evaluator"),
        (["--phi", "-60"], "resolution must be from 1 to 16384, got 0 at phi -60"),
        (
            ["--phi", "1", "--divisor", "0"],
            "multiple of channels must be a whole number from 1 to 1,024, got 0",
        ),
        (["--batch-size", "8"], "--batch-size requires --max-memory"),
        (
            ["--max-memory", "1G", "--batch-size", "0"],
            "a whole number of 1 or more, got 0",
        ),
        (["--workers", "2"], "--workers requires --grid-search or --compare"),
    ],
)
def test_refusals(run_cli, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli("scale", "efficientnet_b0", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("error:") == 1
    assert not list(tmp_path.iterdir())


# -- the grid ---------------------------------------------------------------------------------


@given(st.sampled_from([0.05, 0.1, 0.2, 0.25]), st.floats(0.05, 0.3))
def test_a_grid_holds_the_papers_triple_and_those_near_two(step, tolerance):
    found = triples(GridConfig(step=step, tolerance=tolerance))
    assert found[0] == PAPER
    assert len(set(found)) == len(found)
    for rule in found[1:]:
        assert abs(rule.product - 2) <= tolerance + 1e-6
        for value in (rule.alpha, rule.beta, rule.gamma):
            assert (value - 1) / step == pytest.approx(round((value - 1) / step), abs=1e-6)


def test_networks_over_a_limit_are_dropped_before_any_training():
    everything, dropped = candidates(B0, GridConfig())
    assert dropped == 0
    most = sorted(one.cost.params for one in everything)[10]
    kept, dropped = candidates(B0, GridConfig(), limits(max_params=most))
    assert len(kept) + dropped == len(everything)
    assert {one.rule for one in kept} == {o.rule for o in everything if o.cost.params <= most}


def scored(tried, accuracies):
    """Scores from an accuracy, or several, for each candidate."""
    return MeasuredAccuracies(
        by_fingerprint={
            one.network.fingerprint: tuple(values)
            for one, values in zip(tried, accuracies, strict=True)
        }
    )


def test_the_papers_triple_stays_unless_it_is_beaten():
    tried, _ = candidates(B0, GridConfig(step=0.2, tolerance=0.2))
    assert tried[0].rule == PAPER
    noise = (-0.01, 0.0, 0.01)

    def means(*values):
        return scored(tried, [[value + n for n in noise] for value in values])

    level = [0.8] * len(tried)
    equal = choose(tried, means(*level))
    assert not equal.separable
    assert equal.chosen.rule == PAPER
    assert any("not separable" in w for w in grid_words(equal, demonstration=False))
    ahead = choose(tried, means(0.8, 0.805, *level[2:]))
    assert ahead.candidates[0] is tried[1]
    assert (ahead.beaten, ahead.chosen.rule) == (False, PAPER)
    beaten = choose(tried, means(0.8, 0.9, *level[2:]))
    assert beaten.beaten
    assert beaten.separable
    assert beaten.chosen is tried[1]
    assert beaten.error == pytest.approx(0.01 / 3**0.5)
    without = choose(tried[1:], scored(tried[1:], [[0.5, 0.6]] * (len(tried) - 1)))
    assert without.paper is None
    assert without.chosen.rule != PAPER
    failed = choose(tried, scored(tried, [[], *[[0.5, 0.6]] * (len(tried) - 1)]))
    assert failed.beaten
    assert failed.candidates[-1].rule == PAPER
    for choice in (equal, beaten, failed):
        ElementTree.fromstring(grid_figure(choice))


def test_a_grid_search_ends_with_its_files_and_is_gone_on_with(run_cli, tmp_path):
    folder = tmp_path / "grid"
    options = ["--grid-search", "--step", "0.2", "--tolerance", "0.2", "--workers", "0"]
    asked = ["scale", "efficientnet_b0", *options, "--seeds", "2", "--output", folder]
    code, out, err = run_cli(*asked, "--evaluator", BY_PARAMS, "--format", "json")
    assert code == 0, err
    found = json.loads(out)
    assert json.loads((folder / "grid.json").read_text()) == found
    # The most parameters win: all depth and width.
    best = found["triples"][0]
    assert best["params"] == max(t["params"] for t in found["triples"])
    assert found["paper_beaten"]
    assert found["chosen"] == {name: best[name] for name in ("alpha", "beta", "gamma")}
    ElementTree.parse(folder / "grid.svg")
    assert len((folder / "grid.csv").read_text().splitlines()) == len(found["triples"]) + 1
    journal = (folder / "measurements.jsonl").read_bytes()
    code, again, _ = run_cli(*asked, "--evaluator", BY_PARAMS, "--format", "json")
    assert (code, json.loads(again)) == (0, found)
    assert (folder / "measurements.jsonl").read_bytes() == journal
    code, _, err = run_cli(*asked, "--evaluator", BY_PARAMS, "--max-flops", "1G")
    assert code == 2
    assert "max_flops must be none to resume the grid search" in err
    code, _, err = run_cli("scale", "mobilenet_v2", *asked[2:], "--evaluator", BY_PARAMS)
    assert code == 2
    assert "base must be" in err
    code, _, err = run_cli("resume", folder)
    assert code == 2
    assert (
        "holds a `grid-search`, not a `run`; it can be resumed with the command that began it"
        in err
    )
    code, _, err = run_cli("profile", folder)
    assert (code, err.count("error:")) == (2, 1)


@pytest.mark.full
def test_a_killed_grid_search_trains_nothing_twice(tmp_path):
    folder, log = tmp_path / "grid", tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "mnas_search",
        *("scale", "efficientnet_b0", "--grid-search", "--step", "0.2", "--tolerance", "0.1"),
        *("--seeds", "2", "--workers", "0", "--evaluator", SLOW, "--output", str(folder)),
        *("--format", "json"),
    ]
    environment = {**os.environ, "TRAINED_LOG": str(log)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    journal = folder / "measurements.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not (journal.exists() and len(journal.read_text().splitlines()) >= 3):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    complete = [line for line in journal.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert journal.read_text().startswith("".join(complete))
    seeds = [json.loads(line)["seed"] for line in journal.read_text().splitlines()]
    assert len(set(seeds)) == len(seeds) == 2 * len(json.loads(done.stdout)["triples"])


def test_where_every_training_fails_the_first_reason_is_told(run_cli, tmp_path):
    code, out, err = run_cli(
        *("scale", "efficientnet_b0", "--grid-search", "--step", "0.5", "--tolerance", "0.5"),
        *("--workers", "0", "--evaluator", f"{EVALUATORS}:never", "--output", tmp_path / "g"),
    )
    assert (code, out) == (1, "")
    assert "every training failed; the first: ValueError: no" in err


# -- one dimension against all ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v1", "mobilenet_v2"])
def test_every_dimension_comes_to_the_same_flops(name):
    base = reference.architecture(name)
    found = comparison(base)
    assert [one.dimension for one in found] == [*DIMENSIONS] * 3
    for one in found:
        assert one.cost == cost(one.network)
        assert one.cost.macs == pytest.approx(one.budget, rel=0.05)
        others = {"depth": one.depth, "width": one.width, "resolution": one.resolution}
        if one.dimension != "compound":
            assert others.pop(one.dimension) > 1
            assert set(others.values()) == {1}


def test_the_comparison_is_counted_at_once_and_trained_on_request(run_cli, tmp_path):
    code, out, _ = run_cli("scale", "efficientnet_b0", "--compare", "--format", "json")
    counted = json.loads(out)
    assert code == 0
    assert {row["accuracy"] for row in counted} == {None}
    asked = ["scale", "efficientnet_b0", "--compare", "--budgets", "0.8G,1.6G", "--workers", "0"]
    code, out, err = run_cli(
        *asked, "--evaluator", BY_PARAMS, "--output", tmp_path / "c", "--format", "json"
    )
    assert code == 0, err
    rows = json.loads(out)
    assert [row["dimension"] for row in rows] == ["base", *DIMENSIONS * 2]
    assert all(0 < row["accuracy"] < 1 for row in rows)
    ElementTree.parse(tmp_path / "c" / "comparison.svg")
    partly = [row | {"accuracy": None} if row["dimension"] == "depth" else row for row in rows]
    ElementTree.fromstring(comparison_figure(partly))


def test_a_folder_of_an_earlier_version_is_resumed_with_its_images(run_cli, tmp_path):
    asked = ["scale", "efficientnet_b0", "--compare", "--budgets", "0.8G", "--workers", "0"]
    asked += ["--evaluator", BY_PARAMS, "--output", tmp_path]
    code, out, err = run_cli(*asked)
    assert code == 0, err
    record, journal = read_record(tmp_path), (tmp_path / "measurements.jsonl").read_bytes()
    assert record.config["enlargement"] == pytest.approx(2**0.5, abs=0.02)
    older = {name: value for name, value in record.config.items() if name != "enlargement"}
    write_record(tmp_path, replace(record, config=older))
    assert run_cli(*asked)[:2] == (0, out)
    assert (tmp_path / "measurements.jsonl").read_bytes() == journal
    assert "enlargement" not in read_record(tmp_path).config


def test_proxies_keep_the_ratios_of_resolutions_and_the_bases_strides():
    evaluator = ProxyTraining().at_base_resolution(224)
    base, larger = evaluator.proxy(B0), evaluator.proxy(replace(B0, resolution=448))
    assert (base.resolution, larger.resolution) == (8, 16)
    assert [s.stride for s in base.stages] == [s.stride for s in larger.stages]
    assert map_sizes(larger) == tuple(2 * side for side in map_sizes(base))
    assert ProxyTraining().proxy(replace(B0, resolution=448)).resolution == 8


def test_a_larger_resolution_is_trained_on_larger_images():
    evaluator = ProxyTraining(proxy="epochs=1,fraction=0.05").at_base_resolution(224)
    network = compound(B0, 1, CompoundRule(alpha=1, beta=1, gamma=2))
    [evaluation] = evaluator.evaluate(network, seed=0)
    assert 0 <= evaluation.accuracy <= 1
    assert {resolution for _, resolution in evaluator._prepared} == {16}


# -- networks as files ---------------------------------------------------------------------------


def test_scaled_networks_are_written_for_every_command(run_cli, tmp_path):
    text = "ds_r1_k3_s1_e1_c16_se0.25 ir_r1_k3_s2_e6_c24_se0.25 ir_r1_k5_s1_e6_c40_se0.25"
    base = Architecture.from_block_string(text, name="tiny", resolution=32, head_channels=320)
    (tmp_path / "tiny.json").write_text(base.to_json())
    options = ["--compare", "--budgets", f"{3 * cost(base).macs}", "--format", "json"]
    code, out, err = run_cli("scale", tmp_path / "tiny.json", *options, "--write", tmp_path / "n")
    assert code == 0, err
    rows = json.loads(out)
    files = [Path(line.removeprefix("written: ")) for line in err.splitlines()]
    assert [f.stem.split("-")[:2] for f in files[1:]] == [["tiny", d] for d in DIMENSIONS]
    assert [f.name for f in sorted(files)] == sorted(os.listdir(tmp_path / "n"))
    for row, file in zip(rows, files, strict=True):
        network = resolve_architecture(str(file))
        assert network.name == file.stem  # what a training's folder is called after
        counted = cost(network)
        assert (counted.macs, counted.params) == (row["macs"], row["params"])
        assert network.resolution == row["resolution"]
        # What a block string does not hold.
        width = row["width"]
        assert network.stem.channels == make_divisible(base.stem.channels * width)
    code, out, err = run_cli("scale", tmp_path / "tiny.json", *options, "--write", tmp_path / "n")
    assert (code, out) == (2, "")
    assert err == f"error: {str(tmp_path / 'n')!r} is not empty; it must be a new folder\n"


@pytest.mark.parametrize(
    ("arch", "options", "names"),
    [
        ("efficientnet_b0", [], [f"efficientnet_b{i}" for i in range(8)]),
        ("mnasnet_a1", ["--phi", "1..2"], ["mnasnet_a1-phi-1", "mnasnet_a1-phi-2"]),
        ("ds_r1_k3_s1_c16 ir_r1_k3_s2_e6_c24", ["--phi", "0.5"], ["network-phi-0.5"]),
        ("efficientnet_b0", ["--max-flops", "1G"], ["efficientnet_b0-phi-1.039"]),
        (  # which look the same, rounded
            "ds_r1_k3_s1_c16",
            ["--compare", "--budgets", "900M,900.01M"],
            ["network"] + [f"network-{d}-900M{n}" for n in ("", "-2") for d in DIMENSIONS],
        ),
    ],
)
def test_written_networks_have_names_of_their_own(run_cli, tmp_path, arch, options, names):
    code, _, err = run_cli("scale", arch, *options, "--write", tmp_path / "networks")
    assert code == 0, err
    assert [Path(line).stem for line in err.splitlines()] == names
    networks = [resolve_architecture(str(tmp_path / "networks" / f"{n}.json")) for n in names]
    assert [network.name for network in networks] == names


def test_what_is_not_written(run_cli, tmp_path):
    (tmp_path / "file").write_text("kept")
    code, out, err = run_cli("scale", "efficientnet_b0", "--write", tmp_path / "file")
    assert (code, out) == (2, "") and "is a file; it must be a new folder" in err
    options = ["--grid-search", "--write", tmp_path / "new"]
    code, _, err = run_cli("scale", "efficientnet_b0", *options)
    assert code == 2 and "--write requires --family or --phi" in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
