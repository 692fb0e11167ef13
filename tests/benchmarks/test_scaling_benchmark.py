"""`bench scaling`: equal FLOPs, paired differences, whole benchmarks that were killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from runs import PATIENCE

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import CompoundRule
from mnas_search.benchmarks.scaling import report
from mnas_search.benchmarks.scaling.networks import (
    BASES,
    EQUAL,
    PIXELS,
    compare,
    make_base,
    reached,
    realise,
)
from mnas_search.benchmarks.scaling.settings import Settings
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.jobs import JobResult
from mnas_search.experiments.scaling.comparison import DIMENSIONS
from mnas_search.experiments.scaling.grid import PAPER, GridConfig, triples
from mnas_search.experiments.scaling.measured import MeasuredAccuracies
from mnas_search.networks import reference_counters

DEFAULT = Settings()
IMAGES = 1_000


def base_named(name):
    return make_base(name, flops=DEFAULT.flops, num_classes=10)


def repeats(network):
    return [stage.repeats for stage in network.stages]


def widths(network):
    return [network.stem.channels, *(stage.out_channels for stage in network.stages)]


# -- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASES)
def test_all_dimensions_have_the_same_flops(name):
    base = base_named(name)
    assert base.resolution == PIXELS and cost(base).macs <= DEFAULT.flops
    for factor in DEFAULT.factors:
        found = compare(base, factor)
        assert [one.dimension for one in found] == [*DIMENSIONS]
        budget = found[0].budget
        assert 0.8 < budget / cost(base).macs / factor < 1.25
        for one in found:
            assert one.budget == budget and reached(one)
            assert abs(cost(one.network).macs / budget - 1) <= EQUAL == 0.02
        depth, width, resolution, compound = (one.network for one in found)
        assert (widths(depth), depth.resolution) == (widths(base), PIXELS)
        assert (repeats(width), width.resolution) == (repeats(base), PIXELS)
        assert replace(resolution, resolution=PIXELS, name=base.name) == base
        for grown in (repeats, widths, lambda network: [network.resolution]):
            assert sum(grown(compound)) > sum(grown(base))
        shares = [new / old for new, old in zip(repeats(depth), repeats(base), strict=True)]
        assert max(shares) - min(shares) <= 1


@pytest.mark.full
@pytest.mark.parametrize("name", BASES)
def test_counts_of_scaled_networks_are_those_of_fvcore(name):
    base = base_named(name)
    for one in (one for factor in DEFAULT.factors for one in compare(base, factor)):
        counted = reference_counters.count(one.network)
        assert (counted.fvcore, counted.params) == (one.cost.macs, one.cost.params)


def test_triples_are_realised_in_whole_blocks_channels_and_pixels():
    base = base_named("mobilenet_v2")
    paper = realise(base, PAPER)
    assert sum(repeats(paper)) == round(1.2 * sum(repeats(base)))
    assert paper.resolution == 18  # of 18.4, an even number
    assert realise(base, CompoundRule(alpha=1, beta=1, gamma=1)) == base
    found = [realise(base, rule) for rule in triples(GridConfig())]
    assert len({one.fingerprint for one in found}) == len(found)
    assert all(1.75 < cost(one).macs / cost(base).macs < 2.85 for one in found)


# -- images --------------------------------------------------------------------------------------


def test_images_are_read_as_large_as_scaled_networks_need_them(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("one", "two"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(20):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    sides = []
    for enlargement in (1.0, 1.5, 3.0):
        evaluator = ProxyTraining(
            data=str(tmp_path), proxy="width=1", deployment=PIXELS, enlargement=enlargement
        )
        assert evaluator.recipe.resolution == PIXELS
        sides.append(evaluator.at_base_resolution(PIXELS)._train.images.shape[1])
    assert sides == [16, 24, 32]  # and no more than the images have


# -- differences ---------------------------------------------------------------------------------


def scores_of(networks, accuracies, validations, seeds=3):
    rng, results = np.random.default_rng(0), {}
    images = rng.random(IMAGES)  # some images are easy, for all networks
    for network, accuracy, validation in zip(networks, accuracies, validations, strict=True):
        found = []
        for _ in range(seeds):
            correct = images + rng.normal(0, 0.05, IMAGES) < accuracy
            found.append(
                JobResult(
                    accuracy=validation,
                    test=float(correct.mean()),
                    correct=tuple(correct.tolist()),
                    seconds=1.0,
                )
            )
        results[network.fingerprint] = tuple(found)
    known = {name: tuple(one.accuracy for one in found) for name, found in results.items()}
    return MeasuredAccuracies(by_fingerprint=known, results=results)


def test_compound_is_compared_with_the_best_dimension_of_the_validation_split():
    base = base_named("resnet20")
    scaled = compare(base, 2)
    networks = [base, *(one.network for one in scaled)]
    # Depth is the luckiest on the test split.
    scores = scores_of(networks, (0.5, 0.62, 0.6, 0.55, 0.7), (0.5, 0.6, 0.65, 0.55, 0.7))
    rows = report.rows(base, scaled, scores)
    assert [row["dimension"] for row in rows] == ["base", *DIMENSIONS]
    assert [row["dimension"] for row in rows if row["best_single"]] == ["width"]
    width, compound = rows[2], rows[4]
    assert width["gain"] == pytest.approx(compound["accuracy"] - width["accuracy"])
    assert width["gain_low"] > 0 and compound["gain"] is None
    # Images are paired: the interval is narrower than those of the two accuracies.
    assert width["gain_high"] - width["gain_low"] < width["high"] - width["low"]
    (verdict,) = report.verdicts(rows)
    assert "compound minus width" in verdict and "(ahead)" in verdict
    page = report.markdown(rows, {"seeds": 3})
    assert "width (best single)" in page and verdict in page
    nothing = report.rows(base, scaled, MeasuredAccuracies(by_fingerprint={}))
    assert not list(report.verdicts(nothing)) and nothing[2]["accuracy"] is None
    assert report.text(nothing[2])["test accuracy"] == ""


def test_the_papers_gains_are_those_of_its_tables():
    gains = {row["base"]: row["compound minus it, points"] for row in report.paper_rows()}
    assert gains == {
        "MobileNetV1": "+1.4",
        "MobileNetV2": "+0.6",
        "ResNet-50": "+0.7",
        "EfficientNet-B0": "+2.0",
    }


# -- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--factors", "banana"], "--factors must be numbers between commas, got 'banana'"),
        (["--factors", "1"], "factor must be a number in [1.5, 8], got 1.0"),
        (["--rates", ""], "factors and learning rates must be one or more, got none"),
        (["--seeds", "1"], "seeds must be a whole number of 2 or more, got 1"),
        (["--only", "mobilenet_v9"], "unknown architecture 'mobilenet_v9'"),
        (["--report-only"], "no trainings in"),
    ],
)
def test_wrong_options_are_one_line(run_cli, tmp_path, options, said):
    code, out, err = run_cli(
        *("bench", "scaling", "--data", "digits", "--results", tmp_path / "r", *options)
    )
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.full
def test_a_killed_benchmark_continues_and_ends_with_the_same_figures(run_cli, tmp_path):
    options = ("bench", "scaling", "--data", "digits", "--quick", "--only", "resnet20")
    options += ("--workers", "0", "--format", "json", "--results")
    command = [sys.executable, "-m", "mnas_search", *options, str(tmp_path / "killed")]
    journal = tmp_path / "killed" / "resnet20" / "compare" / "measurements.jsonl"
    process = subprocess.Popen(
        command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while not (journal.exists() and len(journal.read_text().splitlines()) >= 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = [line for line in journal.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    code, out, err = run_cli(*command[3:])
    assert code == 0, err
    assert "14 trainings of 192 images in 3 steps, about" in err
    assert journal.read_text().startswith("".join(kept))
    assert len(journal.read_text().splitlines()) == 2 * 5  # seeds, networks: nothing twice
    code, whole, _ = run_cli(*options, tmp_path / "whole")
    assert code == 0 and json.loads(whole) == json.loads(out)
    records = json.loads(out)["records"]
    assert [one["dimension"] for one in records] == ["base", *DIMENSIONS]
    assert all(0 <= one["low"] <= one["accuracy"] <= one["high"] <= 1 for one in records)
    assert (tmp_path / "whole" / "scaling-resnet20.svg").read_text().startswith("<svg")
    for number in (1, 2):  # the second time from what is kept
        code, out, err = run_cli(*options, tmp_path / "whole", "--part", "grid")
        assert code == 0, err
        assert "best mean" in err and ("44/44" in err) is (number == 1)
    assert sum(one["paper"] for one in json.loads(out)["records"]) == 1
