"""The memory model: what autograd saves, exactly; and peaks, beside torch's profiler."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import architectures, of_any_space

from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.memory import inference_memory, saved_elements, training_memory
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks import memory as benchmark
from mnas_search.common.errors import UsageError
from mnas_search.networks import build

B0 = reference.architecture("efficientnet_b0")
# Stem of 8 channels at 4x4, one depthwise block with a shortcut, no head convolution.
TINY = Architecture.from_block_string(
    "ds_r1_k3_s1_e1_c8",
    stem=Stem(channels=8, stride=1),
    head_channels=None,
    resolution=4,
    num_classes=2,
)
IMAGE, MAP = 3 * 4 * 4, 8 * 4 * 4


def _saved_bytes(architecture, batch):
    """What autograd holds after a forward pass, each storage once; images count in any case."""
    torch.manual_seed(0)
    network = build(architecture).train()
    images = torch.rand(batch, 3, architecture.resolution, architecture.resolution)
    own = {t.untyped_storage().data_ptr() for t in network.state_dict().values()}
    saved = {images.untyped_storage().data_ptr(): images.untyped_storage()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(images).sum()
    return sum(storage.nbytes() for storage in saved.values())


def _expected_saved_bytes(architecture, batch):
    norms = [x for x in plan(architecture).layers() if x.op == "batch_norm"]
    statistics = sum(2 * x.out_channels for x in norms)
    return 4 * (batch * saved_elements(architecture) + statistics)


@given(architectures() | of_any_space.map(lambda a: replace(a, resolution=32)))
def test_the_model_knows_each_tensor_that_autograd_saves(architecture):
    # Dropout and stochastic depth save their masks, which the model leaves out.
    plain = replace(architecture, dropout_rate=0, stochastic_depth_rate=0)
    assert _saved_bytes(plain, 2) == _expected_saved_bytes(plain, 2)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "resnet50"])
def test_the_same_of_published_networks(name):
    plain = replace(
        reference.architecture(name), resolution=64, dropout_rate=0, stochastic_depth_rate=0
    )
    assert _saved_bytes(plain, 2) == _expected_saved_bytes(plain, 2)


def test_saved_tensors_by_hand():
    stem = 2 * MAP  # the batch norm's input, SiLU's
    block = 5 * MAP  # what goes into the depthwise convolution, bn1, SiLU, the 1x1, bn2
    assert saved_elements(TINY) == IMAGE + stem + block + 8  # and into the classifier


def test_inference_by_hand():
    live = IMAGE + 3 * MAP  # the block's input, a batch norm's input and output
    weights = 8 * 3 * 9 + 16 + 8 * 9 + 16 + 64 + 16 + 18
    buffers = 3 * (2 * 8 * 4 + 8)
    assert inference_memory(TINY) == 4 * (live + weights) + buffers
    assert inference_memory(TINY, 5) == 4 * (5 * live + weights) + buffers


MEASURED = {
    "efficientnet_b0": replace(B0, resolution=64),
    "mobilenet_v2": replace(reference.architecture("mobilenet_v2"), resolution=64),
    # Narrow: on few pixels a wide one is no more than oneDNN's own copies of its weights.
    "resnet18": scale(reference.architecture("resnet18"), width=0.25, resolution=96),
    "all kinds": Architecture.from_block_string(
        "cn_r1_k3_s1_c16_nmi_skip ds_r2_k5_s2_c24_se0.25 dsa_r1_k3_s1_c24_nr6 "
        "ir_r2_k3_s1_e4_c32_se0.25_nhs_pool er_r1_k3_s2_e4_c40_nge basic_r1_k3_s1_c48_nre "
        "bottleneck_r2_k3_s2_c64",
        stem=Stem(channels=16, kernel=7, pool=True),
        resolution=96,
        padding="same",
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_inference_within_10_percent_of_the_profiler(name):
    architecture = MEASURED[name]
    for batch in (1, 16):
        measured = benchmark.measure(lambda b=batch: benchmark.infer(architecture, b), "cpu")
        assert inference_memory(architecture, batch) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(
    "name",
    [n if n == "all kinds" else pytest.param(n, marks=pytest.mark.full) for n in MEASURED],
)
def test_training_within_10_percent_of_the_profiler(name):
    architecture = MEASURED[name]
    for batch in (2, 16):
        measured = benchmark.measure(lambda b=batch: benchmark.train(architecture, b), "cpu")
        assert training_memory(architecture, batch) == pytest.approx(measured, rel=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", MEASURED)
def test_training_within_10_percent_of_a_gpu_allocator(name):
    architecture = MEASURED[name]
    measured = benchmark.measure(lambda: benchmark.train(architecture, 16, "cuda"), "cuda")
    assert training_memory(architecture, 16) == pytest.approx(measured, rel=0.1)


@given(of_any_space | architectures(), st.integers(1, 64))
def test_memory_grows_with_the_batch(architecture, batch):
    assert inference_memory(architecture, batch) < inference_memory(architecture, batch + 1)
    assert training_memory(architecture, batch) <= training_memory(architecture, batch + 1)
    assert inference_memory(architecture, batch) < training_memory(architecture, batch)


@given(of_any_space | architectures())
def test_what_an_optimiser_and_an_average_add(architecture):
    whole = plan(architecture)
    weights = 4 * sum(part.params for part in whole.parts)
    norms = [x for x in whole.layers() if x.op == "batch_norm"]
    buffers = sum(8 * x.out_channels + 8 for x in norms)
    bare = training_memory(architecture, 4, optimiser_slots=0, ema=False)
    assert training_memory(architecture, 4, optimiser_slots=2, ema=False) == bare + 2 * weights
    assert training_memory(architecture, 4, optimiser_slots=0) == bare + weights + buffers


def test_what_is_refused():
    for batch in (0, -1, True, 2.0):
        with pytest.raises(UsageError, match="batch_size"):
            inference_memory(B0, batch)
        with pytest.raises(UsageError, match="batch_size"):
            training_memory(B0, batch)
    with pytest.raises(
        UsageError, match="optimiser_slots must be a whole number of 0 or more, got -1"
    ):
        training_memory(B0, 8, optimiser_slots=-1)


@pytest.mark.full
def test_the_benchmark_runs(run_cli, monkeypatch):
    monkeypatch.setattr(benchmark, "_QUICK_NAMES", ("efficientnet_b0",))
    monkeypatch.setattr(benchmark, "_QUICK_RESOLUTION", 32)
    code, out, err = run_cli("bench", "memory", "--quick", "--format", "json")
    assert code == 0
    assert '"model / measured"' in out
    assert err == "efficientnet_b0 on cpu\n" or torch.cuda.is_available()


@given(architectures())
def test_cost_says_the_same(architecture):
    assert cost(architecture).inference_memory == inference_memory(architecture)
