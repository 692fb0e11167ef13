"""Runs that start from pretrained weights."""

import json
from dataclasses import replace

import pytest
import torch

from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.options import RunConfig
from mnas_search.networks.weights.pretrained import Pretrained, load_pretrained

NETWORK = Architecture.from_block_string(
    "ds_r1_k3_s1_e1_c8_nr6 ir_r2_k3_s2_e3_c16_nr6 ir_r1_k3_s2_e3_c24_nr6",
    stem=Stem(channels=8),
    head_channels=64,
    activation="relu6",
    padding="same",
    resolution=16,
)
SPACE = """
from dataclasses import replace

from mnas_search import Architecture, Decision, StagewiseSpace
from mnas_search.architecture.stage import Stage, Stem


class Small(StagewiseSpace):
    def __init__(self, *, resolution=224, num_classes=1000):
        self._template = replace(
            Architecture.from_block_string("ds_r1_k3_s1_c8", stem=Stem(channels=8)),
            head_channels=64,
            resolution=resolution,
            num_classes=num_classes,
        )

    @property
    def template(self):
        return self._template

    @property
    def stage_decisions(self):
        return tuple((Decision(name=f"kernel{i}", options=(3, 5)),) for i in range(3))

    def stage(self, index, choices):
        kind, stride, width, expansion = (
            ("ds", 1, 8, 1), ("ir", 2, 16, 3), ("ir", 2, 24, 3)
        )[index]
        return Stage(
            kind=kind, kernel=choices[f"kernel{index}"], stride=stride, expansion=expansion,
            out_channels=width, repeats=1 + (index == 1),
        )
"""
PROXY = "resolution=16,epochs=1,batch_size=64"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training of `NETWORK` on digits."""
    from mnas_search.experiments.training.session import start
    from mnas_search.experiments.training.settings import TrainingConfig

    folder = tmp_path_factory.mktemp("weights") / "source"
    start(TrainingConfig(architecture=NETWORK, epochs=6, recipe="scratch"), folder)
    return folder


def test_candidates_start_from_the_remapped_weights(trained):
    pretrained = load_pretrained(str(trained))
    assert (pretrained.architecture.padding, pretrained.architecture.num_classes) == ("same", 10)
    larger = pretrained.style(
        Architecture.from_block_string(
            "ds_r1_k5_s1_e1_c8 ir_r3_k3_s2_e3_c16 ir_r1_k5_s2_e3_c24",
            stem=Stem(channels=8),
            head_channels=64,
            resolution=16,
        )
    )
    assert {stage.activation for stage in larger.stages} == {larger.activation} == {"relu6"}
    fresh, started = (
        list(ProxyTraining(proxy=f"{PROXY},width=1", init=init).evaluate(larger, seed=0))
        for init in (None, pretrained)
    )
    assert fresh[-1].accuracy + 0.2 < started[-1].accuracy
    # Whole networks, with all their strides, at no more than their own resolution.
    evaluator = ProxyTraining(init=pretrained)
    proxy = evaluator.proxy(larger)
    assert (proxy.resolution, evaluator.recipe.width) == (16, 1)
    assert proxy.stages == larger.stages and proxy.stem == larger.stem
    assert evaluator.proxy(replace(larger, resolution=224)).resolution == 64
    assert any(f"weights {trained}" in line for line in evaluator.caveats(larger))


def options(trained, folder, **changes):
    (folder / "small.py").write_text(SPACE)
    given = {
        "target_flops": 0.25e6,
        "space": f"{folder / 'small.py'}:Small",
        "controller": "random_search",
        "data": "digits",
        "proxy": PROXY,
        "init": str(trained),
        "resolution": 16,
        "num_classes": 10,
        "trials": 2,
        "workers": 0,
        **changes,
    }
    return RunConfig(**given)


def test_baselines_start_from_them_too_and_the_network_itself_is_one(trained, tmp_path):
    setup = Setup(options(trained, tmp_path))
    own, *others = [one.network for one in setup.baselines()]
    assert own.name == f"{NETWORK.label} with all strides at 16" and own.stages == NETWORK.stages
    assert all(setup.is_feasible(network) for network in (own, *others))
    networks = [own, *others, setup.space.decode({f"kernel{i}": 5 for i in range(3)})]
    assert {(n.activation, n.stages[0].activation, n.padding) for n in networks} == {
        ("relu6", "relu6", "same")
    }
    assert setup.recorded["init_sha256"] == setup.pretrained.sha256
    # By default all have the largest resolution at which it is within the target.
    setup = Setup(options(trained, tmp_path, resolution=None))
    assert setup.config.resolution == 16 and "16 pixels, the largest" in setup.notes[0]
    # Not where it exceeds the target.
    small = Setup(options(trained, tmp_path, target_flops=0.1e6, resolution=8))
    assert all("all strides" not in one.network.name for one in small.baselines())
    plain = Setup(options(trained, tmp_path, init=None, target_flops=2e6))
    assert (
        "init_sha256" not in plain.recorded and plain.baselines()[0].network.activation == "silu"
    )


def test_the_largest_resolution_of_a_pretrained_network():
    """With all strides: a network with fewer would compute another function."""
    lite0 = reference.architecture("efficientnet_lite0")
    pretrained = Pretrained(source="x", architecture=lite0, weights={}, sha256="")
    found = pretrained.largest(lambda network: cost(network).macs <= 100e6, 10)
    assert found == replace(
        lite0, resolution=96, num_classes=10, name="efficientnet_lite0 with all strides at 96"
    )
    assert cost(found).macs <= 100e6 < cost(replace(found, resolution=104)).macs
    assert pretrained.largest(lambda network: True, 1000).name == "efficientnet_lite0 @224"
    assert pretrained.largest(lambda network: False, 1000) is None


def test_what_cannot_start_from_weights_is_refused(trained, tmp_path):
    evaluator = tmp_path / "mine.py"
    evaluator.write_text("def score(network):\n    return 0.5\n")
    with pytest.raises(UsageError, match="init must be text, got 3"):
        options(trained, tmp_path, init=3)
    with pytest.raises(UsageError, match=r"init .* requires an evaluator that takes init, got a"):
        Setup(options(trained, tmp_path, evaluator=f"{evaluator}:score", proxy=None, data=None))


def test_a_run_on_pretrained_weights(trained, tmp_path, run_cli):
    config = options(trained, tmp_path)
    names = ("space", "controller", "data", "proxy", "init", "resolution", "trials", "workers")
    words = [w for name in names for w in (f"--{name}", getattr(config, name))]
    words += ["--num-classes", 10, "--target-flops", "0.25M"]
    code, _, err = run_cli(
        "run", *words, "--init", "package:no-such", "--output", tmp_path / "none"
    )
    assert (code, err.count("\n")) == (2, 1) and "no-such" in err
    assert not (tmp_path / "none").exists()
    code, out, err = run_cli("run", *words, "--output", tmp_path / "run")
    assert code == 0, err
    assert f"weights {trained}: those of" in err
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert recorded["init"] == str(trained) and len(recorded["init_sha256"]) == 64
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert "_nr6" in best["block_string"] and best["accuracy"] > 0.3
    assert "with all strides at 16" in out
    assert f"mnas-search train {tmp_path / 'run'} --data digits --init {trained} --remap" in out
    # Other weights are another run.
    other = torch.load(trained / "export" / "weights.pt", weights_only=True)
    torch.save({n: t + 1 for n, t in other.items()}, trained / "export" / "weights.pt")
    code, _, err = run_cli("resume", tmp_path / "run")
    assert code == 2 and "has changed since the run" in err
