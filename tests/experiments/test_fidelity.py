"""`mnas-search fidelity`: proxies of known power, folders, refusals, real trainings."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from runs import PATIENCE

from mnas_search.common import plugins
from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.experiments.experiment import check_same
from mnas_search.experiments.fidelity.config import FIDELITY, FidelityConfig
from mnas_search.experiments.fidelity.plan import default_proxies, make_plan
from mnas_search.experiments.fidelity.record import record
from mnas_search.experiments.fidelity.report import command, verdict
from mnas_search.experiments.fidelity.scores import compare
from mnas_search.experiments.fidelity.study import study
from mnas_search.experiments.fidelity.trainings import Trainings
from mnas_search.nas.job import EvaluationJob, EvaluatorPool, measure
from mnas_search.nas.space.choices import encode
from mnas_search.nas.space.encoding import encode_architecture
from mnas_search.nas.trial import Evaluation, Failure
from mnas_search.training.recipe import PROXY, proxy_recipe

PROXIES = Path(__file__).parents[1] / "evaluators_for_tests.py"
RANKING = f"{PROXIES}:Ranking"


def wanted(*proxies, reference="noise=0", architectures=16, **changes):
    return FidelityConfig(
        evaluator=RANKING,
        proxies=proxies,
        references=(reference,),
        architectures=architectures,
        **changes,
    )


def options(output, *proxies, reference="noise=0", **changes):
    given = {"evaluator": RANKING, "architectures": 6, "output": output, **changes}
    named = [x for k, v in given.items() for x in (f"--{k}", v)]
    return ["fidelity", *named, "--reference", reference] + [
        x for proxy in proxies for x in ("--proxy", proxy)
    ]


def trained(folder):
    lines = (folder / "measurements.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


class Remembered:
    """A journal in memory."""

    def __init__(self):
        self.events = []

    def append(self, event, *, sync=False):
        self.events.append(event)


def test_a_proxys_power_is_found_and_the_cheapest_that_suffices_chosen(tmp_path):
    done = study(
        wanted("noise=0.02,wait=0.03", "noise=0.02", "noise=3", architectures=24),
        output=tmp_path / "f",
    )
    (against,) = done.comparisons
    by_name = {p.recipe.name: p for p in against.proxies}
    assert by_name["noise=0.02"].one.tau.value > 0.8
    assert by_name["noise=3"].one.tau.high < 0.6
    assert by_name["noise=0.02"].effort.noise == pytest.approx(0.02, rel=0.5)
    assert by_name["noise=0.02,wait=0.03"].effort.seconds > 0.03
    assert against.cheapest.recipe.name == "noise=0.02"
    assert against.cheapest.difference.low > 0  # cost says nothing here, the proxy does
    assert against.ceiling.value == 1
    said = list(verdict(done, against))
    assert "cheapest proxy that reaches tau 0.6 is noise=0.02" in said[0]
    assert "reaches it too" in said[1]
    assert said[-1].endswith('--proxy "noise=0.02"')


def test_where_no_proxy_suffices_it_says_so(tmp_path):
    done = study(wanted("noise=3", "noise=2"), output=tmp_path / "f")
    (against,) = done.comparisons
    assert against.cheapest is None
    said = list(verdict(done, against))
    assert said[0].startswith("no proxy reaches tau 0.6; the best one is noise=")
    assert not any("mnas-search run" in line for line in said)


def test_a_noisy_reference_is_told_by_its_ceiling(tmp_path):
    done = study(wanted("noise=0.01", reference="noise=3"), output=tmp_path / "f")
    assert done.comparisons[0].ceiling.value < 0.6
    assert any(
        "reaches only tau" in x and "with itself" in x for x in verdict(done, done.comparisons[0])
    )


def test_a_proxy_that_is_a_baseline_differs_from_it_by_nothing(tmp_path):
    by_params = f"{PROXIES}:by_params"
    done = study(
        FidelityConfig(
            evaluator=RANKING, proxies=("noise=1",), references=(by_params,), architectures=12
        ),
        output=tmp_path / "f",
        workers=0,
    )
    (against,) = done.comparisons
    assert against.baselines["params"].tau.value == 1
    assert against.best_baseline in ("params", "linear fit")
    assert against.ceiling is None  # without noise one seed is enough
    assert against.noise is None
    assert against.baselines["params"].within_quartiles.value == 1
    assert against.baselines["params"].pairs == 4 * 3  # quartiles of three


def test_seeds_of_proxies_and_references_are_disjoint():
    plan = make_plan(wanted("noise=1", architectures=40, seeds=5).over({}))
    seeds = {True: set(), False: set()}
    for recipe in plan.recipes:
        for network in plan.networks:
            own = recipe.seeds(plan.config.seed, network.fingerprint)
            assert len(set(own)) == 5
            seeds[recipe.reference] |= set(own)
    assert len(seeds[True]) == len(seeds[False]) == 200
    assert not seeds[True] & seeds[False]


def test_the_work_is_done_network_by_network_and_given_to_its_recipe():
    plan = make_plan(wanted("noise=1", architectures=4).over({}))
    trainings = Trainings(plan, Remembered())
    works = []
    queue = trainings.queue
    while (work := queue.next()) is not None:
        works.append(work)
    assert [w.number for w in works] == sorted(w.number for w in works)
    assert [w.evaluator_index for w in works[:4]] == [0, 0, 1, 1]  # the reference first
    assert not queue.finished
    for work in reversed(works):
        queue.record(work, Evaluation(accuracy=work.evaluator_index / 2), 1.0)
    assert queue.finished
    assert (trainings.accuracies(plan.proxies[0]) == 0.5).all()


def test_a_pool_measures_with_the_evaluator_that_is_asked():
    network = make_plan(wanted("noise=1", architectures=4).over({})).networks[0]
    ranking = plugins.load("evaluators", RANKING)
    pool = EvaluatorPool((ranking(), ranking(proxy="flat=1")))
    jobs = [
        EvaluationJob(number=0, network=network, seed=0, evaluator_index=index) for index in (0, 1)
    ]
    given = [measure(pool, job)[0].accuracy for job in jobs]
    assert given[1] == 0.5 != given[0]
    assert pool.resources is None


def test_failures_are_left_out_and_counted(tmp_path):
    done = study(wanted("fail=1,noise=0.01", "noise=0.01"), output=tmp_path / "f")
    failing, other = done.comparisons[0].proxies
    lost = sum(int(n.fingerprint, 16) % 3 == 0 for n in done.plan.networks)
    assert 0 < lost < 16
    assert failing.effort.failed == 2 * lost
    assert (failing.one.networks, other.one.networks) == (16 - lost, 16)
    assert failing.one.tau.value > 0.8
    assert any(f"{2 * lost} trainings failed" in note for note in record(done)["notes"])


def test_what_is_undefined_is_called_so(tmp_path, run_cli):
    code, out, err = run_cli(*options(tmp_path / "f", "flat=1"))
    assert code == 0, err
    assert "undefined" in out
    assert "tau is undefined for every proxy" in out
    assert "nan" not in out.lower()
    text = (tmp_path / "f" / "fidelity.json").read_text()
    assert "NaN" not in text
    (proxy,) = json.loads(text)["comparisons"][0]["proxies"]
    assert proxy["tau"] is None
    assert proxy["spread"] == 0


def test_files_and_json(tmp_path, run_cli):
    folder = tmp_path / "f"
    code, out, err = run_cli(*options(folder, "noise=0.1", "noise=0.2", format="json"))
    assert code == 0, err
    assert err.startswith(f"folder: {folder}\n")
    told = json.loads(out)
    assert told == json.loads((folder / "fidelity.json").read_text())
    (against,) = told["comparisons"]
    assert against["reference"] == "noise=0"
    assert {"name", "tau", "within_quartiles", "networks", "pairs"} == set(against["baselines"][0])
    assert [b["name"] for b in against["baselines"]] == ["MACs", "params", "linear fit"]
    for proxy in against["proxies"]:
        tau = proxy["tau"]
        assert tau["low"] <= tau["value"] <= tau["high"]
        assert proxy["trained"] == 12
        assert proxy["seconds"] >= 0
    assert len(told["networks"]) == told["architectures"] == 6
    assert told["remaining"] == 0
    with (folder / "fidelity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["kind"] for r in rows] == ["proxy"] * 2 + ["baseline"] * 3 + ["ceiling"]
    assert float(rows[0]["tau"]) == against["proxies"][0]["tau"]["value"]
    figure = ElementTree.fromstring((folder / "fidelity.svg").read_text())
    circles = [e for e in figure.iter() if e.tag.endswith("circle") and len(e)]  # not the key's
    assert len(circles) == 2
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "fidelity.csv",
        "fidelity.json",
        "fidelity.svg",
        "measurements.jsonl",
    ]


def test_the_folder_alone_goes_on_and_trains_only_what_is_new(tmp_path, run_cli):
    folder = tmp_path / "f"
    assert run_cli(*options(folder, "noise=0.1"))[0] == 0
    first = trained(folder)
    assert len(first) == 6 * (2 + 2)
    before = (folder / "fidelity.csv").read_text()
    assert run_cli("fidelity", "--output", folder)[0] == 0
    assert trained(folder) == first
    assert (folder / "fidelity.csv").read_text() == before

    assert run_cli("fidelity", "--output", folder, "--proxy", "noise=0.3")[0] == 0
    more = trained(folder)[len(first) :]
    assert {t["recipe"] for t in more} == {"noise=0.3"}
    assert len(more) == 12

    grown = ("--architectures", 8, "--seeds", 3)
    assert run_cli("fidelity", "--output", folder, *grown)[0] == 0
    keys = [(t["recipe"], t["fingerprint"], t["seed"]) for t in trained(folder)]
    assert len(keys) == len(set(keys)) == 8 * 3 * 3
    assert {t["fingerprint"] for t in first} < {t["fingerprint"] for t in trained(folder)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--seed", 1), "seed must be 0 to resume the fidelity study"),
        (("--architectures", 4), "architectures must be 5 or more"),
        (("--seeds", 1), "seeds must be 2 or more"),
        (("--space", "mnasnet"), "space must be 'efficientnet'"),
        (("--data", "digits"), "data must be none"),
        (("--reference", "accel_nasbench"), "networks_of must be 'the space'"),
    ],
)
def test_what_would_make_trainings_useless_is_refused(tmp_path, run_cli, change, says):
    folder = tmp_path / "f"
    assert run_cli(*options(folder, "noise=0.1", architectures=5))[0] == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    code, _, err = run_cli("fidelity", "--output", folder, *change)
    assert code == 2
    assert says in err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_other_images_in_the_same_place_are_refused(tmp_path):
    file, folder = tmp_path / "mine.npz", tmp_path / "f"

    def asked(seed):
        images = np.random.default_rng(seed).integers(0, 256, (60, 8, 8, 3), np.uint8)
        np.savez(file, images=images, labels=np.arange(60) % 3)
        return make_plan(FidelityConfig(data=str(file), architectures=4).over({}))

    recorded = asked(0).recorded
    check_same(FIDELITY, folder, recorded, asked(0).recorded)
    with pytest.raises(RunFolderError, match=r"mine\.npz' has changed since the fidelity study"):
        check_same(FIDELITY, folder, recorded, asked(1).recorded)


def test_new_folders_are_named_after_the_data_and_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = ((None, "digits-1"), (None, "digits-2"), ("my own.images", "my-own.images-1"))
    for data, name in cases:
        if data is not None:
            Path(data).mkdir()
        done = study(wanted("noise=1", data=data, architectures=4))
        assert done.folder == tmp_path / "fidelity" / name


def test_a_changed_file_is_refused(tmp_path, run_cli):
    mine = tmp_path / "mine.py"
    mine.write_text(PROXIES.read_text())
    folder = tmp_path / "f"
    given = options(folder, "noise=0.1", evaluator=f"{mine}:Ranking")
    assert run_cli(*given)[0] == 0
    mine.write_text(PROXIES.read_text() + "\n# changed\n")
    code, _, err = run_cli(*given)
    assert code == 2
    assert "has changed since the fidelity study" in err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--architectures", 3), "architectures must be a whole number of 4 or more, got 3"),
        (("--seeds", 0), "seeds must be a whole number of 1 or more, got 0"),
        (("--tau", 0), "tau must be a number in (0, 1], got 0.0"),
        (("--tau", "nan"), "tau must be a number in (0, 1], got nan"),
        (("--workers", -1), "workers must be a whole number of 0 or more, got -1"),
        (("--reference", "nobody"), "reference: evaluator must be one of accel_"),
        (("--reference", "epochs=x"), "NAME=NUMBER,... with NAME of resolution, "),
        (("--proxy", "depth=3"), "batch_size, learning_rate, got 'depth=3'"),
        (("--evaluator", RANKING), "requires at least one --proxy"),
        (("--evaluator", RANKING, "--proxy", "noise=1"), "requires at least one --reference"),
        (
            ("--evaluator", f"{PROXIES}:by_params", "--proxy", "a=1", "--reference", "a=2"),
            "a function",
        ),
        (("--space", "mnasnet", "--reference", "accel_nasbench"), "was not recorded"),
    ],
)
def test_refusals_come_before_a_folder_is_made(tmp_path, run_cli, monkeypatch, given, says):
    monkeypatch.chdir(tmp_path)
    code, _, err = run_cli("fidelity", *given)
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_other_folders_are_left_alone(tmp_path, run_cli):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert run_cli(*options(other, "noise=1"))[0] == 2
    (other / "config.json").write_text(json.dumps({"config": {"target_flops": 1}}))
    code, _, err = run_cli(*options(other, "noise=1"))
    assert code == 2
    assert "holds a `run`, not a `fidelity`" in err
    assert sorted(p.name for p in other.iterdir()) == ["config.json", "notes.txt"]
    mine = tmp_path / "mine"
    assert run_cli(*options(mine, "noise=1", architectures=4))[0] == 0
    assert run_cli("resume", mine)[0] == 2


def test_more_architectures_than_there_are(tmp_path, run_cli):
    space = tmp_path / "small.py"
    space.write_text(
        "from mnas_search import Architecture\n"
        "from mnas_search.nas.space.choices import Decision\n"
        "from mnas_search.nas.evaluator import SearchSpace\n"
        "class Small(SearchSpace):\n"
        "    decisions = (Decision(name='c', options=(16, 24, 32, 40, 48)),)\n"
        "    def decode(self, choices):\n"
        "        return Architecture.from_block_string(f'ds_r1_k3_s1_e1_c{choices[\"c\"]}')\n"
    )
    given = options(tmp_path / "f", "noise=1", space=f"{space}:Small")
    code, _, err = run_cli(*given)
    assert code == 2
    assert "architectures must be at most 5, all there are, got 6" in err
    assert run_cli(*given, "--architectures", 5)[0] == 0


def test_recorded_networks_are_a_reference_as_they_were_recorded():
    config = FidelityConfig(
        evaluator=RANKING, proxies=("noise=1",), references=("accel_nasbench",), architectures=30
    )
    plan = make_plan(config.over({}))
    evidence = load()
    for network, accuracy in zip(plan.networks, plan.references[0].accuracy, strict=True):
        codes = encode(SPACE.decisions, encode_architecture(SPACE, network))
        rows = (evidence.codes == np.array(codes)).all(axis=1)
        assert rows.any()
        assert accuracy == pytest.approx(evidence.accuracy[rows].mean())
    assert plan.networks_of == "accel_nasbench"
    assert all(not recipe.reference for recipe in plan.recipes)
    trainings = Trainings(plan, Remembered())
    while (work := trainings.queue.next()) is not None:
        trainings.queue.record(work, Failure(reason="no"), 0.0)
    (against,) = compare(plan, trainings, 0.6)
    assert against.ceiling is None
    assert against.noise == 0.0031
    assert against.baselines["params"].tau.value > 0.3  # 0.62 over all recorded networks
    assert against.proxies[0].one.tau is None


def test_default_recipes_are_cheaper_ones_and_the_usual_one():
    assert default_proxies(PROXY) == (
        "epochs=1",
        "epochs=2",
        "resolution=4",
        "width=0.125",
        "fraction=0.5",
        "default",
    )
    for text in default_proxies(proxy_recipe(224, 10_000))[:-1]:
        assert proxy_recipe(224, 10_000).override(text) != proxy_recipe(224, 10_000)


@pytest.mark.full
def test_real_trainings(tmp_path, run_cli):
    names = ["--reference", "epochs=4,fraction=0.3", "--proxy", "epochs=2,fraction=0.1"]
    names += ["--proxy", "width=0.25,fraction=0.3,epochs=4", "--architectures", 4, "--seeds", 2]
    folder = tmp_path / "f"
    code, out, err = run_cli(
        "fidelity", "--data", "digits", *names, "--workers", 0, "--output", folder
    )
    assert code == 0, err
    assert "against fraction=0.3,epochs=4, 4 architectures" in out
    assert "digits are a demonstration" in out
    told = json.loads((folder / "fidelity.json").read_text())
    by_name = {p["proxy"]: p for p in told["comparisons"][0]["proxies"]}
    # What is given and the default anyway is not part of the name, but of the recipe.
    assert list(by_name) == ["fraction=0.1,epochs=2", "fraction=0.3,epochs=4"]
    assert "resolution=8,width=0.25" in by_name["fraction=0.1,epochs=2"]["recipe"]
    assert len({t["accuracy"] for t in trained(folder)}) > 4
    short, same = by_name.values()
    assert 0 < short["seconds"] < same["seconds"]
    # The reference's own recipe, by other seeds.
    recipe = same["recipe"]
    assert recipe == told["comparisons"][0]["recipe"]
    assert len({t["seed"] for t in trained(folder) if t["recipe"] == recipe}) == 16


def test_the_command_that_is_given_is_one_that_run_takes(tmp_path):
    done = study(wanted("noise=0.01", architectures=8), output=tmp_path / "f")
    line = command(done, done.comparisons[0].proxies[0])
    assert line == (
        "mnas-search run --target-flops 400M --data digits --evaluator "
        f'{RANKING} --proxy "noise=0.01"'
    )


@pytest.mark.full
def test_over_ray_each_worker_has_all_evaluators(tmp_path):
    done = study(
        FidelityConfig(
            evaluator=f"{PROXIES}:RankingOnWorkers",
            proxies=("noise=0.02", "flat=1"),
            references=("noise=0",),
            architectures=8,
        ),
        output=tmp_path / "f",
        workers=2,
    )
    good, flat = done.comparisons[0].proxies
    assert good.one.tau.value > 0.7
    assert flat.one.tau is None
    assert flat.effort.spread == 0
    assert done.trainings.remaining == 0


def _start(*arguments, log):
    command = "from mnas_search.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, *map(str, arguments)],
        env={**os.environ, "TRAINED_LOG": str(log)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def _wait_for(file, lines):
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        if file.exists() and len(file.read_text().splitlines()) >= lines:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was trained")


@pytest.mark.full
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_going_on_after_a_kill_and_after_ctrl_c(tmp_path, run_cli, how):
    folder, log = tmp_path / "f", tmp_path / "log"
    process = _start(*options(folder, "noise=0.1,wait=0.2"), log=log)
    _wait_for(log, 5)
    process.send_signal(how)
    _, err = process.communicate(timeout=PATIENCE)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert f"resume with: mnas-search fidelity --output {folder}" in err
    done = len(trained(folder))
    assert 4 <= done < 24
    code, out, err = run_cli("fidelity", "--output", folder, "--format", "json")
    assert code == 0, err
    assert f"24 trainings, {done} there already" in err
    keys = [(t["recipe"], t["fingerprint"], t["seed"]) for t in trained(folder)]
    assert len(keys) == len(set(keys)) == 24
    assert json.loads(out)["remaining"] == 0


def test_the_time_budget_leaves_the_rest_for_later(tmp_path, run_cli):
    folder = tmp_path / "f"
    given = options(folder, "wait=0.05", **{"time-budget": "1s"}, architectures=40)
    code, out, _ = run_cli(*given)
    assert code == 0
    assert f"resume with: mnas-search fidelity --output {folder}" in out
    told = json.loads((folder / "fidelity.json").read_text())
    assert 4 <= told["comparisons"][0]["networks"] < 40
    assert told["remaining"] > 0


def test_too_little_for_any_comparison_is_no_result(tmp_path, run_cli):
    folder = tmp_path / "f"
    code, _, err = run_cli(*options(folder, "wait=0.2", **{"time-budget": "0.1"}))
    assert code == 1
    assert f"resume with: mnas-search fidelity --output {folder}" in err
    with pytest.raises(UsageError):
        study(wanted("noise=1"), target=math.inf)


def test_a_supernet_is_one_of_the_recipes(tmp_path, monkeypatch):
    """Trained once for all networks, which share its seconds."""
    monkeypatch.setenv("MNAS_SEARCH_CACHE", str(tmp_path / "cache"))
    short = "steps=3,batch_size=16,reading_images=40"
    done = study(
        FidelityConfig(
            space=f"{Path(__file__).parents[1] / 'small_space.py'}:SmallSpace",
            proxies=(f"supernet,{short}", "fraction=0.05,epochs=1"),
            references=(f"{PROXIES}:by_params",),
            architectures=6,
        ),
        output=tmp_path / "f",
        workers=0,
    )
    (against,) = done.comparisons
    assert not done.trainings.errors
    supernet, plain = against.proxies
    assert (supernet.effort.trained, plain.effort.trained) == (6, 12)  # no seeds, and two
    assert supernet.recipe.key.startswith("supernet: SupernetRecipe(steps=3, width=0.25")
    (row,) = zip(*done.trainings.of(supernet.recipe), strict=True)
    assert supernet.effort.seconds == pytest.approx(sum(r.seconds for r in row) / 6, abs=1e-3)
    assert command(done, supernet).endswith(f'--evaluator supernet --proxy "{short}"')
    assert command(done, plain).endswith('--proxy "fraction=0.05,epochs=1"')
    assert len(list((tmp_path / "cache" / "supernets").glob("*.pt"))) == 1
