"""The resolution and the strides of what is searched, trained and profiled."""

import json

import numpy as np
import pytest

from mnas_search import reference
from mnas_search.architecture.adaptation import adapt, lite
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.data.loading import own_resolution
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.deployment import find_deployment
from mnas_search.experiments.fidelity.config import FidelityConfig
from mnas_search.experiments.fidelity.plan import make_plan
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.stages.baseline_comparison import Baseline
from mnas_search.training.proxy import map_sizes

B0 = reference.architecture("efficientnet_b0")


def images(file, side, count=40):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    np.savez(file, images=pixels, labels=np.arange(count) % 2)
    return str(file)


@pytest.fixture
def small(tmp_path):
    return images(tmp_path / "small.npz", 32)


@pytest.mark.parametrize(
    ("side", "resolution"),
    [(8, 32), (28, 32), (47, 32), (48, 64), (100, 96), (200, 192), (300, 224)],
)
def test_the_datas_own_resolution(side, resolution, tmp_path):
    assert own_resolution(images(tmp_path / "data.npz", side, count=6)) == resolution


def test_the_resolution_of_photos_is_that_of_the_median_shorter_side(tmp_path):
    from PIL import Image

    for name, size in (("a", (70, 90)), ("b", (200, 61)), ("c", (500, 400))):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", size).save(folder / f"{number}.jpg")
    (tmp_path / "photos" / "a" / "broken.jpg").write_bytes(b"nothing")
    assert own_resolution(str(tmp_path / "photos")) == 64


@pytest.mark.parametrize("space", ["efficientnet", "mnasnet"])
def test_lite_networks_are_searched_counted_and_compared(small, space):
    setup = Setup(RunConfig(target_flops=60e6, data=small, space=space, lite=True))
    choices = {d.name: d.options[-1] for d in setup.space.decisions}
    networks = [setup.space.decode(choices), *(one.network for one in setup.baselines())]
    for network in networks:
        assert network.resolution == 32 and network == lite(network)
    codes = np.array([[len(d.options) - 1 for d in setup.space.decisions]])
    assert setup.problem.costs(codes)["macs"].tolist() == [cost(networks[0]).macs]
    labels = ["efficientnet_b0_lite", "mobilenet_v2", "mnasnet_a1_lite"]
    assert [network.label.split()[0] for network in networks[1:]] == labels
    assert setup.recorded["lite"] is True


def test_digits_are_a_demonstration_at_224_pixels():
    assert own_resolution("digits") is own_resolution(None) is None
    for data in (None, "digits"):
        place = find_deployment("efficientnet", data, None)
        assert (place.resolution, place.recorded) == (224, {})


def test_a_search_on_data_deploys_at_its_resolution(small):
    setup = Setup(RunConfig(target_flops=60e6, data=small))
    network = setup.space.decode({d.name: d.options[-1] for d in setup.space.decisions})
    assert (setup.config.resolution, setup.config.num_classes) == (32, 2)
    assert network == adapt(network, 32) and network.stem.stride == 2
    assert any("2 of 5 strides are dropped" in note for note in setup.notes)
    assert any("deployed at 32 pixels" in note for note in setup.notes)
    assert setup.recorded["adapted"] is True
    labels = [one.network.label for one in setup.baselines()]
    assert all(label.endswith("@32") for label in labels)
    # A proxy differs by width and length alone.
    proxy = setup.evaluator.proxy(network)
    assert proxy.resolution == 32
    assert [s.stride for s in proxy.stages] == [s.stride for s in network.stages]
    assert proxy.stem.stride == 2


def test_a_folder_of_an_older_version_reads_as_it_was_made(small):
    config = RunConfig(target_flops=60e6, data=small, resolution=32)
    older = {"resolution": 32, "data": small}
    setup = Setup(config, begun=older)
    network = setup.space.decode({d.name: d.options[0] for d in setup.space.decisions})
    assert [stage.stride for stage in network.stages] == [1, 2, 2, 2, 1, 2, 1]
    assert "adapted" not in setup.recorded and setup.notes == ()
    assert all("@" not in one.network.label for one in setup.baselines())
    # The resolution of the folder is taken where none is given.
    again = Setup(RunConfig(target_flops=60e6, data=small), begun={"resolution": 224})
    assert again.config.resolution == 224
    resumed = Setup(RunConfig(target_flops=60e6, data=small), begun=Setup(config).recorded)
    assert resumed.recorded == Setup(config).recorded


@pytest.mark.parametrize(
    ("deployment", "side", "maps"),
    [
        (32, 32, (16, 16, 16, 16, 8, 8, 4, 4)),
        (64, 64, (32, 32, 32, 16, 8, 8, 4, 4)),
        (224, 32, (16, 16, 16, 16, 8, 8, 4, 4)),  # not enlarged beyond the data
        (None, 32, (32, 32, 32, 16, 8, 8, 4, 4)),  # of older versions
    ],
)
def test_proxies_follow_the_deployment(deployment, side, maps, small):
    evaluator = ProxyTraining(data=small, deployment=deployment)
    network = B0 if deployment is None else adapt(B0, deployment)
    assert evaluator.recipe.resolution == side
    assert map_sizes(evaluator.proxy(network)) == maps


def test_profile_takes_resolution_and_classes(run_cli):
    words = ("--resolution", "32", "--num-classes", "10", "--format", "json")
    _, out, _ = run_cli("profile", "efficientnet_b0", "efficientnet_b0 x0.44 @64", *words)
    first, second = json.loads(out)
    assert (first["name"], first["macs"]) == ("efficientnet_b0 @32", 102_318_592)
    assert (second["name"], second["resolution"]) == ("efficientnet_b0 x0.44 @32", 32)


@pytest.mark.parametrize(
    ("words", "resolution"),
    [
        (["efficientnet_b0 x0.1"], 32),
        (["efficientnet_b0 x0.1 @48"], 48),
        (["efficientnet_b0 x0.1", "--resolution", "40"], 40),
    ],
)
def test_train_adapts_a_name_to_the_data(words, resolution, small, run_cli, tmp_path):
    more = ("--data", small, "--epochs", "1", "--batch-size", "8")
    folder = tmp_path / "training"
    code, _, said = run_cli("train", *words, *more, "--output", folder)
    assert code == 0, said
    recorded = json.loads((folder / "config.json").read_text())["config"]
    network = Architecture.from_dict(recorded["architecture"])
    assert network.resolution == resolution
    assert network == adapt(network, resolution) and network.stem.stride == 2
    told = f"trained at {resolution} pixels: 2 of 5 strides are dropped" in said
    assert told == ("@" not in words[0])  # whose words say it
    # The same command finds it finished.
    code, _, said = run_cli("train", *words, *more, "--output", folder)
    assert code == 0, said


def test_fidelity_draws_within_the_targets(small):
    config = FidelityConfig(data=small, target_flops=50e6, architectures=6).over({})
    plan = make_plan(config)
    assert max(one.macs for one in plan.costs) <= 50e6
    assert {network.resolution for network in plan.networks} == {32}
    assert plan.recorded["adapted"] is True and plan.recorded["resolution"] == 32
    objective = plan.config.objective
    assert objective is not None and objective.bounds == {"flops": 50e6}
    # An older folder's networks are those that it began with.
    older = make_plan(FidelityConfig(data=small, architectures=4).over({}), {"data": small})
    assert {network.resolution for network in older.networks} == {224}
    assert "adapted" not in older.recorded and older.recorded["resolution"] is None


def test_baselines_within_a_target_of_small_images(small):
    setup = Setup(RunConfig(target_flops=60e6, data=small))
    baselines = setup.baselines()
    assert baselines and all(isinstance(one, Baseline) for one in baselines)
    assert all(0.9 * 60e6 < cost(one.network).macs <= 60e6 for one in baselines)
