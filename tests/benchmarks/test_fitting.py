"""`bench fit`: paired differences, what is kept, and whole fits."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnas_search.benchmarks import fitting
from mnas_search.benchmarks.fitting import fits, report
from mnas_search.benchmarks.fitting.fits import ARMS, Fitted, make_arms
from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.common.statistics import wilson
from mnas_search.experiments.fit import plan
from mnas_search.experiments.fit.config import FitConfig

SPACE = f"{Path(__file__).parents[1] / 'small_space.py'}:SmallSpace"
IMAGES = 2_000


def fitted(right, seconds=10.0):
    return Fitted(figures={"network": "x", "macs": 1e6, "seconds": seconds}, right=right)


def drawn(accuracy, rng):
    return rng.random(IMAGES) < accuracy


# -- intervals -----------------------------------------------------------------------------------


def test_one_seed_counts_images_alone():
    rng = np.random.default_rng(0)
    right = drawn(0.7, rng)
    found = report.accuracy([right])
    assert (found.low, found.high) == wilson(int(right.sum()), IMAGES)
    other = right.copy()
    other[: IMAGES // 100] = ~other[: IMAGES // 100]
    apart = report.difference([(right, other)])
    assert apart.value == pytest.approx(right.mean() - other.mean())
    assert apart.margin < 0.01  # nearly all images are equal: the pairing is used


def test_several_seeds_count_seeds_and_paired_images():
    rng = np.random.default_rng(0)
    base = [drawn(0.6, rng) for _ in range(3)]
    better = [one | drawn(0.1, rng) for one in base]  # each seed gains about 0.04
    apart = report.difference(list(zip(better, base, strict=True)))
    assert apart.low > 0 and apart.value == pytest.approx(0.04, abs=0.01)
    # Seeds of unlike gains widen the interval; equal gains do not.
    unlike = [better[0], base[1], base[2]]
    wider = report.difference(list(zip(unlike, base, strict=True)))
    assert wider.low < 0 < wider.value
    assert wider.margin > apart.margin


def test_differences_are_those_of_equal_seeds_and_the_best_baseline_is_named():
    rng = np.random.default_rng(0)
    found = {
        ("recommended", 0): fitted(drawn(0.7, rng), 10.0),
        ("recommended", 1): fitted(drawn(0.7, rng), 20.0),
        ("efficientnet_b0", 0): fitted(drawn(0.5, rng)),
        ("mobilenet_v2", 1): fitted(drawn(0.6, rng)),
        ("winner", 2): fitted(drawn(0.9, rng)),
    }
    rows = list(report.rows(found))
    assert [row.seed for row in rows] == [0, 1, 0, 1, 2, None, None, None, None]
    assert {row.arm for row in rows if row.best_baseline} == {"mobilenet_v2"}
    means = {row.arm: row for row in rows if row.seed is None}
    right = {key: one.right.mean() for key, one in found.items()}
    expected = right["recommended", 1] - right["mobilenet_v2", 1]
    assert means["mobilenet_v2"].difference.value == pytest.approx(expected)
    assert means["winner"].difference is means["recommended"].difference is None
    assert means["recommended"].figures["seconds"] == 15.0
    assert "0.5" in means["efficientnet_b0"].text["test accuracy"]
    table = list(csv.DictReader(report.to_csv([row.record for row in rows]).splitlines()))
    assert float(table[0]["test"]) == right["recommended", 0]
    assert len(table) == len(rows)


# -- what is kept --------------------------------------------------------------------------------


def test_arms_are_fits_that_differ_in_the_network():
    base = FitConfig(data="digits", target_flops=1e8, seed=3)
    arms = make_arms(base, 2, (*ARMS, "winner"))
    assert [(arm.name, arm.config.seed) for arm in arms] == [(n, s) for s in (3, 4) for n in ARMS]
    networks = [(arm.config.network, arm.config.controller) for arm in arms[:4]]
    assert networks == [
        (None, "bayesian"),
        ("winner", "bayesian"),
        ("winner", "random_search"),
        ("efficientnet_b0", "bayesian"),
    ]
    with pytest.raises(UsageError, match="arms must be recommended, winner, random or names of"):
        make_arms(base, 1, ("random", "banana"))


def test_kept_fits_are_read_back_and_belong_to_their_options(tmp_path):
    base = FitConfig(data="digits", target_flops=1e8)
    (arm,) = make_arms(base, 1, ("winner",))
    assert fits.read(arm, tmp_path) is None
    with pytest.raises(UsageError, match="no fits in"):
        fitting.run(base, results=tmp_path, seeds=1, arms=("winner",), report_only=True)
    right = np.array([True, False, True])
    fits.write(arm, fitted(right), results=tmp_path)
    kept = fits.read(arm, tmp_path)
    assert kept.right.tolist() == right.tolist() and kept.figures["network"] == "x"
    (longer,) = make_arms(FitConfig(data="digits", target_flops=1e8, time=60.0), 1, ("winner",))
    with pytest.raises(RunFolderError, match=r"time must be 1800.0 for the results in .* got 60"):
        fits.read(longer, tmp_path)
    (tmp_path / "seed-0" / "winner.json").write_text("[]")
    with pytest.raises(RunFolderError, match="holds no result of a fit"):
        fits.read(arm, tmp_path)


@pytest.mark.full
def test_whole_fits_beside_each_other(tmp_path, run_cli, monkeypatch):
    # A time that suffices on a busy machine, too, most of which is not used.
    monkeypatch.setattr(plan, "MAX_TRIALS", 3)
    monkeypatch.setattr(plan, "MAX_LENGTH", 1)
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 20)):
        for name, level in (("dark", 80), ("light", 170)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(level, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    results = tmp_path / "results"
    options = ("--target-flops", "3M", "--space", SPACE, "--workers", 0, "--seeds", 1)
    options += ("--time", "4m", "--arms", "winner,efficientnet_b0", "--results", results)
    command = ("bench", "fit", tmp_path / "photos", *options)
    code, out, err = run_cli(*command, "--format", "json")
    assert code == 0, err
    records = json.loads(out)["records"]
    assert [one["arm"] for one in records] == 2 * ["winner", "efficientnet_b0"]
    winner, baseline = records[:2]
    told = (results / "seed-0/winner/run/journal.jsonl").read_text().count('"event": "tell"')
    assert 1 <= winner["candidates"] == told <= 3 and winner["source"] == "winner"
    assert (baseline["candidates"], baseline["source"]) == (0, "baseline")
    assert baseline["network"].startswith("efficientnet_b0 x")
    assert all(one["macs"] <= 3e6 and one["seconds"] <= 1.1 * 240 for one in records[:2])
    for one in records[:2]:
        trained = json.loads(
            (results / "seed-0" / one["arm"] / "training/result.json").read_text()
        )
        assert one["test"] == trained["test"]["top1"] and trained["test"]["n"] == 40
    assert not (results / "seed-0" / "efficientnet_b0" / "run").exists()
    written = json.loads((results / "results.json").read_text())
    assert written["records"] == records
    assert len((results / "results.csv").read_text().splitlines()) == 1 + len(records)
    journal = (results / "seed-0" / "winner" / "journal.jsonl").read_bytes()
    code, out, err = run_cli(*command)  # nothing is carried out again
    assert code == 0, err
    assert "efficientnet_b0 (best baseline)" in out
    assert (results / "seed-0" / "winner" / "journal.jsonl").read_bytes() == journal
