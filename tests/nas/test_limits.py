"""Limits on params and memory beside the target: counted exactly, and kept by everybody."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from evaluators_for_tests import by_params
from listed_spaces import Listed, every, random_space, stage
from runs import EVALUATOR, arguments, events, timeless
from strategies import SPACES

import mnas_search
from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.memory import inference_memory
from mnas_search.architecture.scaling import scale, widest
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.files import read_json
from mnas_search.common.units import parse_bytes
from mnas_search.experiments.search.config import RunConfig, Setup
from mnas_search.experiments.search.report import tables as report_tables
from mnas_search.experiments.search.stages.baseline_comparison import TOP, BaselineComparison
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.nas.controller import Controller
from mnas_search.nas.core import Search
from mnas_search.nas.journal import Journal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem, problem
from mnas_search.nas.space.choices import decode, encode, sample_codes, sizes
from mnas_search.nas.space.cost import PerNetworkCost, space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.trial import Evaluation, Trial, rank
from mnas_search.testing import ToySpace, toy_accuracy

HERE = Path(__file__).parents[1]
B0 = reference.architecture("efficientnet_b0")
CONTROLLERS = [p.name for p in plugins.installed("controllers")]
TIGHT = Objective(target=400e6, max_params=4e6, max_memory=20e6)


class Tradeoff(Listed):
    """Few params and a wide map, or many params and a narrow one; nothing between."""

    def __init__(self):
        super().__init__((stage("ir", 3, 6, 8), stage("cn", 7, 1, 8)))


def of_network(architecture):
    """Bytes of inference, from the layers of the plan."""
    whole = plan(architecture)
    norms = [layer for layer in whole.layers() if layer.op == "batch_norm"]
    held = 4 * sum(layer.params for layer in whole.layers())
    held += sum(4 * 2 * layer.out_channels + 8 for layer in norms)
    stem, *others = whole.parts
    live = max(stem.peak, 3 * architecture.resolution**2 + max(part.peak for part in others))
    return held + 4 * live


MEMORY = CostModel(metrics=("memory",))


def costs_of(objective, network):
    return CostModel(metrics=tuple(objective.bounds)).costs(network)


def is_feasible(objective, network):
    return objective.is_feasible(costs_of(objective, network))


# -- counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_tables_count_the_memory_of_each_network(name):
    space = SPACES[name]
    codes = sample_codes(space.decisions, 300, np.random.default_rng(0))
    memory = space_cost(space, MEMORY)(codes)["inference_memory"]
    networks = [space.decode(decode(space.decisions, row)) for row in codes]
    assert memory.tolist() == [of_network(network) for network in networks]
    assert memory.tolist() == [cost(network).inference_memory for network in networks]
    walked = PerNetworkCost(space, MEMORY)(codes)["inference_memory"]
    np.testing.assert_array_equal(memory, walked)
    many = np.tile(codes, (20, 1))  # more than are counted at a time
    counted = space_cost(space, MEMORY)(many)["inference_memory"]
    np.testing.assert_array_equal(counted, np.tile(memory, 20))


def test_memory_is_what_the_memory_model_says():
    assert cost(B0).inference_memory == inference_memory(B0)


@pytest.mark.parametrize("seed", range(20))
def test_the_ends_of_a_space_are_exact(seed):
    """Over spaces small enough to list, in which params and peaks go ways of their own."""
    space = random_space(seed)
    counter = space_cost(space, MEMORY)
    params = counter(every(space))["params"]
    assert counter.feasible_range("params").low == params.min()
    assert counter.feasible_range("params").high == params.max()
    assert counter.feasible_range("memory").low == counter(every(space))["inference_memory"].min()


@pytest.mark.parametrize("name", SPACES)
def test_no_network_of_the_spaces_needs_less(name):
    """Where all costs grow with each decision, the least of all is each decision's least."""
    space = SPACES[name]
    counter = space_cost(space, MEMORY)
    row = sample_codes(space.decisions, 1, np.random.default_rng(0))[0]
    for _, (column, decision) in itertools.product(range(3), enumerate(space.decisions)):
        options = np.repeat(row[None], len(decision.options), axis=0)
        options[:, column] = np.arange(len(decision.options))
        row = options[counter(options)["inference_memory"].argmin()]
    assert counter.feasible_range("memory").low == counter(row[None])["inference_memory"][0]
    draws = sample_codes(space.decisions, 5_000, np.random.default_rng(1))
    assert counter.feasible_range("memory").low <= counter(draws)["inference_memory"].min()
    assert counter.feasible_range("params").low <= counter(draws)["params"].min()
    assert counter.feasible_range("params").high >= counter(draws)["params"].max()


# -- the constraints ---------------------------------------------------------------------------


def _counts(macs, params, memory):
    return {"macs": macs, "params": params, "inference_memory": memory}


def test_each_limit_is_kept_to_the_last_one():
    assert TIGHT.is_feasible(_counts(400_000_000, 4_000_000, 20_000_000))
    for over in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        counts = np.array([400_000_000, 4_000_000, 20_000_000]) + over
        assert not TIGHT.is_feasible(_counts(*counts.tolist()))
        assert TIGHT.constraint_violation(_counts(*counts[:, None]))[0] > 0
    assert TIGHT.constraint_violation(_counts(*np.array([[4e8], [4e6], [2e7]])))[0] == 0
    twice = TIGHT.constraint_violation(_counts(*np.array([[2e8, 8e8], [8e6, 2e6], [1e6, 1e6]])))
    np.testing.assert_allclose(twice, np.log(2))
    with pytest.raises(UsageError, match="requires params, got macs"):
        TIGHT.is_feasible({"macs": 400_000_000})
    assert TIGHT.reward(0.7, 300_000_000) == Objective(target=400e6).reward(0.7, 300_000_000)


def test_constraints_in_words():
    assert Objective(target=4e8).constraint == "400M FLOPs"
    assert Objective(target=4e8, max_params=4e6).constraint == "400M FLOPs and 4M params"
    assert TIGHT.constraint == "400M FLOPs, 4M params and 20MB of memory"


@pytest.mark.parametrize("name", ["max_params", "max_memory"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "4M"])
def test_limits_that_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name} must be a positive number, got "):
        Objective(target=4e8, **{name: value})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20M", 20e6),
        ("20MB", 20e6),
        ("20 mb", 20e6),
        ("1.5G", 1.5e9),
        ("3e6", 3e6),
        ("7B", 7),
        ("20MiB", 20 * 2**20),
        ("512KiB", 2**19),
    ],
)
def test_bytes(text, value):
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "banana", "0", "-1M", "20Mi", "20Q", "1e999", "nan"])
def test_what_is_no_number_of_bytes(text):
    with pytest.raises(UsageError, match="a positive number of bytes such as 20M"):
        parse_bytes(text)


@pytest.mark.parametrize("space", sorted(SPACES))
def test_a_problem_tells_what_is_within(space):
    """Of sampled networks, as counted one by one."""
    space = SPACES[space]
    codes = sample_codes(space.decisions, 300, np.random.default_rng(0))
    networks = [space.decode(decode(space.decisions, row)) for row in codes]
    costs = [cost(network) for network in networks]
    limits = {
        "max_params": float(np.median([c.params for c in costs])),
        "max_memory": float(np.median([c.inference_memory for c in costs])),
    }
    objective = Objective(target=float(np.median([c.macs for c in costs])), **limits)
    within = problem(space, objective).is_feasible(codes)
    assert within.tolist() == [
        c.macs <= objective.target
        and c.params <= objective.max_params
        and c.inference_memory <= objective.max_memory
        for c in costs
    ]
    assert within.tolist() == [is_feasible(objective, network) for network in networks]
    assert within.tolist() == (problem(space, objective).constraint_violation(codes) <= 0).tolist()
    assert 0 < within.sum() < 300


def test_a_problem_with_costs_of_its_own_needs_its_own_memory():
    space = ToySpace()
    given = Problem(
        decisions=space.decisions,
        objective=Objective(target=1, max_memory=1),
        costs=space_cost(space),
    )
    with pytest.raises(UsageError, match="requires inference_memory, got macs, params"):
        given.is_feasible(every(space))


# -- controllers -------------------------------------------------------------------------------


@pytest.mark.parametrize("space", sorted(SPACES))
@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_controller_proposes_networks_within_all_limits(name, space):
    """At quartiles of each cost, and past the start-up of each controller."""
    space = SPACES[space]
    draws = sample_codes(space.decisions, 2_000, np.random.default_rng(0))
    costs = space_cost(space, MEMORY)(draws)
    objective = Objective(
        target=float(np.quantile(costs["macs"], 0.5)),
        max_params=float(np.quantile(costs["params"], 0.35)),
        max_memory=float(np.quantile(costs["inference_memory"], 0.35)),
    )
    given = problem(space, objective)
    controller = plugins.load("controllers", name)(given)
    worth = np.random.default_rng(1).uniform(0, 1, len(space.decisions))
    worth *= 0.5 / worth.sum() / np.maximum(np.array(sizes(space.decisions)) - 1, 1)
    asked = []
    for number in range(26):
        choices = controller.ask(np.random.default_rng((0, number)))
        codes = encode(space.decisions, choices)
        asked.append(codes)
        costs = costs_of(objective, space.decode(choices))
        accuracy = 0.3 + float(worth @ codes)
        controller.tell(trial(number, choices, accuracy, objective, costs))
    assert given.is_feasible(np.array(asked)).all()


def trial(number, choices, accuracy, objective, costs):
    return Trial(
        number=number,
        choices=choices,
        fingerprint=str(choices),
        status="ok",
        accuracy=accuracy,
        costs=costs,
        reward=objective.reward_of(accuracy, costs),
        feasible=objective.is_feasible(costs),
        seconds=0.0,
    )


class CountsAlone(Controller):
    """A user's controller that knows FLOPs and nothing else."""

    def __init__(self, problem):
        self.problem = problem

    def ask(self, rng):
        codes = sample_codes(self.problem.decisions, 16, rng)
        macs = self.problem.costs(codes)["macs"]
        assert macs.shape == (16,)
        kept = codes[macs <= self.problem.objective.target]
        return decode(self.problem.decisions, kept[0] if len(kept) else codes[macs.argmin()])

    def tell(self, trial):
        pass


TOY = Objective(target=400e3, max_params=40e3, max_memory=205e3)


def searched(journal):
    """A search by a controller that knows of no limits."""
    search = Search(
        space=ToySpace(),
        objective=TOY,
        controller=CountsAlone(problem(ToySpace(), TOY)),
        trials=30,
        seed=0,
        journal=journal,
    )
    while (work := search.next()) is not None:
        accuracy = toy_accuracy(search.choices(work))
        search.record(work, Evaluation(accuracy=accuracy), 0.0)
    return search


def test_controllers_that_know_flops_alone_go_on_working(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        search = searched(journal)
    kept = [t for t in search.trials if is_feasible(TOY, search.network(t))]
    assert [t for t in search.trials if t.feasible] == kept
    assert TOP < len(kept) < 30
    assert search.best == min(kept, key=rank)
    with Journal(tmp_path / "journal.jsonl") as journal:  # taken back
        assert searched(journal).trials == search.trials


def test_a_verdict_is_about_networks_within_all_limits(tmp_path):
    with Journal(tmp_path / "one") as one, Journal(tmp_path / "two") as two:
        search = searched(one)
        verdict = BaselineComparison(
            search,
            TOY,
            baselines=(),
            random_baseline=search,
            seed=0,
            journal=two,
        )
        contenders = (*verdict.candidates, *verdict.random_candidates)
    assert len(contenders) == 2 * TOP
    assert all(is_feasible(TOY, contender.network) for contender in contenders)


def test_random_search_comes_as_near_as_it_can():
    """Where nothing is within, the draw that is least beyond."""
    space = SPACES["efficientnet"]
    given = problem(space, Objective(target=400e6, max_params=1e6))
    choices = plugins.load("controllers", "random_search")(given).ask(np.random.default_rng(0))
    params = given.costs(np.array([encode(space.decisions, choices)]))["params"]
    assert params[0] < 2.3e6


# -- runs --------------------------------------------------------------------------------------

LIMITS = {"target-flops": "300M", "max-params": "4M", "max-memory": "20MB"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits") / "mine"
    result = mnas_search.search(
        "300M",
        max_params="4M",
        max_memory=20_000_000,
        controller="evolution",
        evaluator=EVALUATOR,
        trials=60,
        workers=0,
        output=folder,
    )
    return folder, result


def test_a_run_under_limits(done):
    folder, result = done
    objective = Objective(target=300e6, max_params=4e6, max_memory=20e6)
    assert result.objective == objective
    assert len(result.trials) == 60
    assert all(is_feasible(objective, network) for network in result.networks.values())
    assert all(t.feasible for t in result.trials)
    best = json.loads((folder / "best.json").read_text())
    assert best["inference_memory"] == of_network(Architecture.from_dict(best["architecture"]))
    assert best["params"] <= 4e6 and best["inference_memory"] <= 20e6
    config = json.loads((folder / "config.json").read_text())["config"]
    assert (config["max_params"], config["max_memory"]) == (4e6, 20e6)
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "inference_memory"
    for row in rows:
        network = Architecture.from_block_string(row["block_string"])
        assert int(row["inference_memory"]) == of_network(network)
    for event in events(folder):
        assert ("inference_memory" in event) == (event["event"] == "tell")
    # The family is scaled beyond the limits.
    assert result.family[-1][1].params > 4e6


def test_what_is_said_of_limits(done, run_cli):
    folder, result = done
    code, out, err = run_cli("resume", folder, "--format", "json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["max_params"], said["max_memory"]) == (4e6, 20e6)
    assert said["best"]["inference_memory"] == result.best.costs["inference_memory"]
    near = result.best.params >= 0.9 * 4e6
    (note,) = (note for note in said["notes"] if "limit on params" in note)
    assert ("the limit on params binds: the winner has " in note) == near
    assert note.endswith(" of 4M")
    code, out, _ = run_cli("resume", folder)
    words = " ".join(out.split())
    assert "winner within 300M FLOPs, 4M params and 20MB of memory" in words
    assert "the limit on memory " in words
    assert "memory is that of fp32 inference at batch 1: weights, image and the peak" in words
    text = (folder / "report.html").read_text()
    assert "a network within 300M FLOPs, 4M params and 20MB of memory" in text
    assert "params ≤ 4M, memory ≤ 20MB" in text
    assert f"{result.best.costs['inference_memory']:,} bytes" in text
    assert note.removeprefix("the ") in text


def test_without_limits_nothing_is_said(run_cli, tmp_path):
    code, out, _ = run_cli("run", *arguments(tmp_path / "run"))
    assert code == 0
    assert "memory" not in out and "max_" not in out
    assert "inference_memory" not in (tmp_path / "run" / "journal.jsonl").read_text()
    assert "inference_memory" not in (tmp_path / "run" / "best.json").read_text()


def test_a_resumed_run_has_its_limits(run_cli, tmp_path):
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    options = {**LIMITS, "controller": "evolution"}
    assert run_cli("run", *arguments(cut, **options, trials=8))[0] == 0
    assert run_cli("resume", cut, "--trials", 12)[0] == 0
    assert run_cli("run", *arguments(whole, **options, trials=12))[0] == 0
    assert [e for e in timeless(cut) if e["event"] != "session"] == [
        e for e in timeless(whole) if e["event"] != "session"
    ]
    before = (cut / "journal.jsonl").read_bytes()
    for change, says in (
        ({"max-params": "5M"}, "max_params must be 4000000.0 to resume the run"),
        ({"max-params": None}, "max_params must be 4000000.0 to resume the run"),
        ({"max-memory": "19MB"}, "max_memory must be 20000000.0 to resume the run"),
    ):
        code, out, err = run_cli("run", *arguments(cut, **{**options, **change}, trials=12))
        assert (code, out) == (2, "")
        assert says in err and err.count("\n") == 1
    assert (cut / "journal.jsonl").read_bytes() == before
    free = tmp_path / "free"
    assert run_cli("run", *arguments(free, trials=2))[0] == 0
    code, _, err = run_cli("run", *arguments(free, trials=2, **{"max-params": "4M"}))
    assert code == 2
    assert "max_params must be none to resume the run" in err and "got 4000000.0" in err
    # A run that is older than the options has none.
    config = read_json(free / "config.json")
    for name in ("max_params", "max_memory"):
        del config["config"][name]
    (free / "config.json").write_text(json.dumps(config))
    code, _, err = run_cli("resume", free, "--trials", 3)
    assert code == 0, err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max-params": "banana"}, "a positive size such as 400M, 0.4G or 4e8, got 'banana'"),
        ({"max-params": "0"}, "4e8, got '0'"),
        ({"max-params": "-4M"}, "4e8, got '-4M'"),
        ({"max-params": "nan"}, "'nan'"),
        ({"max-memory": "banana"}, "512KiB, got 'banana'"),
        ({"max-memory": "0"}, "512KiB, got '0'"),
        ({"max-memory": "-20M"}, "512KiB, got '-20M'"),
        ({"max-params": "1.7M"}, "no network in space 'efficientnet' has 1.7M params or fewer"),
        ({"max-params": "1.7M"}, "(range: 1.8M to "),
        ({"max-params": "1.7M"}, ", from 1,798,072 exactly; trainable parameters)"),
        ({"max-memory": "10.4M"}, "'efficientnet' has 10.4MB of memory or less (range: from "),
        ({"max-memory": "12.6M"}, "12,632,160 exactly; fp32 inference at batch 1"),
        (
            {"max-memory": "1M", "space": HERE.parent / "examples" / "my_vit.py:TinyViTs"},
            "a bound on memory requires networks of stages",
        ),
    ],
)
def test_refusals(run_cli, tmp_path, change, says):
    folder = tmp_path / "run"
    code, out, err = run_cli("run", *arguments(folder, **change))
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not folder.exists()


def test_the_smallest_that_is_named_can_be_had():
    """And nothing below it."""
    options = {"target_flops": 900e6, "evaluator": EVALUATOR, "workers": 0}
    for name, least in (("max_params", 1_798_072), ("max_memory", 12_632_160)):
        Setup(RunConfig(**options, **{name: least}))
        with pytest.raises(UsageError, match="no network in space"):
            Setup(RunConfig(**options, **{name: least - 1}))


def test_limits_that_cannot_be_kept_together(run_cli, tmp_path):
    space = Tradeoff()
    counter = space_cost(space, MEMORY)
    params = counter(every(space))["params"]
    memory = counter(every(space))["inference_memory"]
    assert params.argmin() != memory.argmin()
    limits = {"max-params": params.min(), "max-memory": memory.min()}
    options = {
        "space": f"{Path(__file__)}:Tradeoff",
        "target-flops": "100M",
        "trials": 2,
        **limits,
    }
    code, out, err = run_cli("run", *arguments(tmp_path / "run", **options))
    assert (code, out) == (1, "")
    assert "candidates is within 100M FLOPs, " in err
    assert "(the minima over all candidates: " in err
    assert "error: none" in err
    assert not (tmp_path / "run" / "best.json").exists()
    with pytest.raises(WorkFailed, match="candidates is within 100M FLOPs, "):
        mnas_search.search(
            1e8,
            max_params=int(params.min()),
            max_memory=str(memory.min()),
            space=f"{Path(__file__)}:Tradeoff",
            controller="random_search",
            evaluator=EVALUATOR,
            trials=2,
            workers=0,
            output=tmp_path / "api",
        )


@pytest.mark.parametrize(("name", "value"), [("max_params", 0), ("max_memory", -1.0)])
def test_numbers_that_the_library_refuses(tmp_path, name, value):
    with pytest.raises(UsageError, match=f"{name} must be a positive number, got "):
        mnas_search.search(
            "400M",
            evaluator=EVALUATOR,
            workers=0,
            output=tmp_path / "run",
            **{name: value},
        )
    assert not (tmp_path / "run").exists()


def test_starting_from_what_breaks_a_limit(run_cli, tmp_path):
    """Architectures are tried and cannot win; earlier runs are counted under the new limits."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_cli("run", *arguments(one, **{"target-flops": "400M"}))[0] == 0
    options = {"target-flops": "400M", "max-params": "4M", "trials": 6, "seed": 1}
    start = ("--start-from", one, "--start-from", "efficientnet_b0")
    code, out, err = run_cli("run", *arguments(two, **options), *start, "--format", "json")
    assert code == 0, err
    said = json.loads(out)
    (known,) = (e["known"] for e in events(two) if e["event"] == "warm start")
    assert max(e["params"] for e in known) > 4e6
    tells = [e for e in events(two) if e["event"] == "tell"]
    assert tells[0]["params"] == 5_288_548
    told = [*known, *tells]
    within = [e["reward"] for e in told if e["params"] <= 4e6 and e["macs"] <= 400e6]
    assert said["best"]["params"] <= 4e6
    assert said["best"]["reward"] == max(within)
    assert max(e["reward"] for e in told if e["macs"] <= 400e6) > max(within)
    for row in (*said["budgets"], *said["pareto"]):
        assert row["params"] <= 4e6


def test_baselines_fill_all_limits():
    """Each is as wide as target and limits allow."""
    config = RunConfig(target_flops=400e6, max_params=3e6, max_memory=20e6, evaluator=EVALUATOR)
    setup = Setup(config)
    found = [one.network for one in setup.baselines()]
    assert len(found) == 3
    for network in found:
        assert setup.is_feasible(network)
        name, _, width = network.label.partition(" x")
        wider = scale(reference.architecture(name), width=float(width or 1) + 0.01)
        assert not setup.is_feasible(wider)
        assert cost(wider).macs <= 400e6, "it is a limit that binds here"
    with pytest.raises(UsageError, match="no width of efficientnet_b0 is within the constraints"):
        widest(B0, lambda one: is_feasible(Objective(target=4e8, max_params=1e3), one))


@pytest.mark.parametrize(
    ("objective", "label"),
    [
        (Objective(target=4e8), "efficientnet_b0"),
        (Objective(target=3e8), "efficientnet_b0, over the target"),
        (TIGHT, "efficientnet_b0, over the limits"),
        (replace(TIGHT, max_params=6e6), "efficientnet_b0, over the limits"),
        (replace(TIGHT, target=3e8), "efficientnet_b0, over the target"),
    ],
)
def test_a_baseline_over_a_limit_is_marked(objective, label):
    counted, evaluation = cost(B0), Evaluation(accuracy=by_params(B0))
    scored = Finalist(
        trial=None,
        network=B0,
        macs=counted.macs,
        params=counted.params,
        searched=evaluation,
        checked=evaluation,
        reward=0.5,
        trainings=(),
    )
    model = CostModel(metrics=tuple(objective.bounds))
    result = SimpleNamespace(objective=objective, cost_model=model)
    assert report_tables.label(scored, result) == label
