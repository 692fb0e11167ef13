"""The fast path of proxy training: the same numbers sooner, bounded cost, and less memory."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mnas_search import reference
from mnas_search.benchmarks.proxy.comparison import WorkList
from mnas_search.benchmarks.proxy.plain import Settings, train_plainly
from mnas_search.benchmarks.proxy.workloads import Workload, candidates
from mnas_search.data import Split, digits
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.job import EvaluationJob, measure
from mnas_search.nas.trial import Evaluation, Failure
from mnas_search.networks import build
from mnas_search.networks.layers import SqueezeExcite, conv
from mnas_search.training import devices, loop
from mnas_search.training.fast import depthwise
from mnas_search.training.fast.layers import (
    FastBatchNorm,
    FastDepthwise,
    FastGlobalAvgPool,
    FastPointwise,
    FastSqueezeExcite,
    use_fast_layers,
)
from mnas_search.training.recipe import MAX_PROXY_EPOCHS, MAX_PROXY_IMAGES, proxy_recipe

SMALL = "epochs=1,fraction=0.2"
B0 = reference.architecture("efficientnet_b0")


def gradients(module, x):
    module.zero_grad()
    x = x.clone().requires_grad_()
    out = module(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    (out * weights).sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("size", [2, 4, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "pad"),
    [(5, (2, 2)), (7, (3, 3)), (5, (1, 2)), (7, (2, 3)), (4, (1, 1)), (6, (3, 3)), (9, (4, 4))],
)
@pytest.mark.parametrize(
    ("pixels", "values"), [(0, 0), (100, 0), (16, 1 << 15)], ids=["strips", "matrices", "as it is"]
)
def test_a_depthwise_convolution(monkeypatch, kernel, pad, stride, size, pixels, values):
    monkeypatch.setattr(depthwise, "_FEW_PIXELS", pixels)
    monkeypatch.setattr(depthwise, "_FEW_VALUES", values)
    torch.manual_seed(0)
    slow = conv(6, 6, kernel, stride=stride, groups=6, pad=pad).double()
    x = torch.randn(3, 6, size, size, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last)
    expected = gradients(slow, x)
    for one, two in zip(expected, gradients(FastDepthwise(slow), x), strict=True):
        torch.testing.assert_close(two, one)


def test_other_depthwise_convolutions_stay():
    other = [{"padding": "same"}, {"padding": (2, 1)}, {"padding": 3}, {"stride": (1, 2)}]
    other += [{"dilation": 2}, {"bias": True}, {"padding": 2, "padding_mode": "reflect"}]
    stay = [nn.Conv2d(6, 6, 5, groups=6, **{"bias": False, **more}) for more in other]
    network = nn.Sequential(*stay, nn.Conv2d(6, 6, 5, groups=6, bias=False))
    use_fast_layers(network)
    assert [*network][:-1] == stay
    assert isinstance(network[-1], FastDepthwise)


def test_batch_norm():
    torch.manual_seed(0)
    slow, fast = (nn.Sequential(nn.BatchNorm2d(6, eps=1e-3, momentum=0.2)).double() for _ in "12")
    use_fast_layers(fast)
    assert isinstance(fast[0], FastBatchNorm)
    x = torch.randn(4, 6, 5, 5, dtype=torch.float64)
    for training in (True, False):
        slow.train(training)
        fast.train(training)
        for one, two in zip(gradients(slow, x), gradients(fast, x), strict=True):
            torch.testing.assert_close(two, one)
    assert list(slow.state_dict()) == list(fast.state_dict())
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(fast[0], name), getattr(slow[0], name))
    averages = nn.Sequential(nn.BatchNorm2d(6, momentum=None), nn.BatchNorm2d(6, affine=False))
    use_fast_layers(averages)
    assert [type(one) for one in averages] == [nn.BatchNorm2d, FastBatchNorm]


@pytest.mark.parametrize("activation", ["silu", "relu", "hard_swish"])
def test_squeeze_and_excitation_by_matrix_products(activation):
    torch.manual_seed(0)
    slow = SqueezeExcite(12, 3, activation).double()
    x = torch.randn(4, 12, 5, 5, dtype=torch.float64)
    expected = gradients(slow, x)
    for one, two in zip(expected, gradients(FastSqueezeExcite(slow), x), strict=True):
        torch.testing.assert_close(two, one)


@pytest.mark.parametrize("size", [4, 40])  # a matrix product, a convolution
def test_a_pointwise_convolution(size):
    torch.manual_seed(0)
    slow = conv(6, 10).double()
    x = torch.randn(3, 6, size, size, dtype=torch.float64)
    for images in (x, x.contiguous(memory_format=torch.channels_last)):
        expected = gradients(slow, images)
        for one, two in zip(expected, gradients(FastPointwise(slow), images), strict=True):
            torch.testing.assert_close(two, one)


def test_a_network_with_fast_layers_is_the_same_function_with_the_same_state():
    torch.manual_seed(0)
    slow = build(ProxyTraining().proxy(B0)).double()
    fast = copy.deepcopy(slow)
    use_fast_layers(fast)
    kinds = [type(m) for m in fast.modules()]
    assert kinds.count(FastSqueezeExcite) == 16
    assert kinds.count(FastDepthwise) == 9  # the 5x5 ones
    assert kinds.count(FastPointwise) == 32
    assert kinds.count(FastBatchNorm) == 49
    assert kinds.count(FastGlobalAvgPool) == 1
    assert [p.shape for p in fast.parameters()] == [p.shape for p in slow.parameters()]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    # Gradients of an input's mean under batch norm are rounding noise: absolute tolerance.
    for one, two in zip(gradients(slow, x), gradients(fast, x), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-8)
    slow.load_state_dict(fast.state_dict())
    assert list(slow.state_dict()) == list(fast.state_dict())


@pytest.mark.parametrize("resolution", [8, 32])
def test_maps_and_their_gradients_stay_channels_last(resolution):
    network = build(ProxyTraining().proxy(B0)).to(memory_format=torch.channels_last)
    use_fast_layers(network)
    maps = {}

    def note(name, x):
        # A gradient that is one value a channel has no layout.
        spread = x.ndim == 4 and x.stride()[2:] != (0, 0)
        if spread and not x.is_contiguous(memory_format=torch.channels_last):
            maps[name] = x.stride()

    def look(name, out):
        note(name, out)
        out.register_hook(lambda gradient: note(f"to {name}", gradient))

    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, a, out, name=name: look(name, out))
    images = torch.randn(4, 3, resolution, resolution).to(memory_format=torch.channels_last)
    network(images).square().sum().backward()
    assert maps == {}


def test_images_that_cannot_be_written_to_are_shared_not_copied():
    split = digits().train
    images = split.images.copy()
    images.setflags(write=False)
    data = loop.Images(
        Split(images=images, labels=split.labels),
        resolution=8,
        normalisation=loop.normalisation(split),
        flips=False,
    )
    assert data.pixels.data_ptr() == images.ctypes.data
    assert data.pixels.is_contiguous(memory_format=torch.channels_last)
    whole = data.normalise(data.batch(slice(None)))
    assert whole.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(whole.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_resizing_in_parts_is_resizing(monkeypatch):
    split = digits().validation
    whole = loop.resize(split, 12)
    assert whole.images.shape == (len(split.labels), 12, 12, 3)
    monkeypatch.setattr(loop, "_RESIZE_BATCH", 100)
    assert np.array_equal(loop.resize(split, 12).images, whole.images)
    assert loop.resize(split, 8) is split


def test_what_an_evaluator_prepares_stays_where_it_is():
    evaluator = ProxyTraining(proxy=SMALL)
    size = len(pickle.dumps(evaluator))
    [first] = evaluator.evaluate(B0, seed=3)
    assert len(pickle.dumps(evaluator)) == size
    [again] = evaluator.evaluate(B0, seed=3)
    [elsewhere] = pickle.loads(pickle.dumps(evaluator)).evaluate(B0, seed=3)
    assert first == again == elsewhere


def out_of_gpu_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def out_of_memory():
    torch.empty(1 << 50)  # a petabyte: torch's own error


def out_of_python_s_memory():
    bytearray(1 << 60)


@pytest.mark.parametrize("fail", [out_of_gpu_memory, out_of_memory, out_of_python_s_memory])
def test_out_of_memory_is_tried_once_more_with_half_the_batch(fail, monkeypatch):
    real, batches = loop.Training.train_epoch, []

    def train_epoch(self):
        batches.append(self._recipe.batch_size)
        if batches[-1] > fits:
            fail()
        return real(self)

    work = EvaluationJob(number=0, network=B0, seed=5)
    [expected] = ProxyTraining(proxy=f"{SMALL},batch_size=16,learning_rate=0.05").evaluate(
        B0, seed=5
    )
    monkeypatch.setattr(loop.Training, "train_epoch", train_epoch)
    fits = 16
    outcome, _ = measure(ProxyTraining(proxy=SMALL), work)
    assert outcome == Evaluation(accuracy=expected.accuracy, info={"batch_size": 16.0})
    fits = 0
    outcome, _ = measure(ProxyTraining(proxy=SMALL), work)
    assert outcome == Failure(reason="out of memory")
    assert batches == [32, 16, 32, 16]


def test_other_errors_are_not_taken_for_memory(monkeypatch):
    def train_epoch(self):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop.Training, "train_epoch", train_epoch)
    outcome, _ = measure(ProxyTraining(proxy=SMALL), EvaluationJob(number=0, network=B0, seed=0))
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


@pytest.mark.filterwarnings("ignore:.*CUDA is not available:UserWarning")
def test_capturing_leaves_the_network_as_it_was(monkeypatch):
    """What surrounds the capture; the capture itself needs a GPU."""
    network, images = small_network(), torch.randn(2, 3, 8, 8)
    before = copy.deepcopy(network.state_dict())

    def capture(module, arguments):
        module(*arguments).sum().backward()  # as torch's warm-up does

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    devices.capture(network, images)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())

    def refuse(module, arguments):
        capture(module, arguments)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", refuse)
    devices.capture(network, images)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_candidate_sees_as_many_images_of_any_data():
    for side in (8, 28, 32, 224):
        for count in (1, 100, 255, 900, 1_000, 12_345, 50_000, 1_281_167):
            recipe = proxy_recipe(side, count)
            training, whole = recipe.training, round(recipe.fraction * count)
            batch = min(training.batch_size, whole)
            seen = training.epochs * (whole // batch * batch)
            assert seen <= 1.005 * MAX_PROXY_IMAGES  # a fraction has three digits
            if side > 8 and training.epochs < MAX_PROXY_EPOCHS:
                assert seen > 0.97 * MAX_PROXY_IMAGES
    assert proxy_recipe(32, 50_000).override("fraction=1").fraction == 1
    assert "of 1,077 images" in ProxyTraining().caveats(B0)[0]


@pytest.mark.parametrize(
    ("side", "count", "epochs", "fraction"),
    [
        (32, 50, 100, 1),
        (32, 900, 44, 1),
        (32, 1_200, 34, 1),
        (32, 4_000, 10, 1),
        (32, 50_000, 4, 0.2),
        (8, 900, 5, 1),
        (8, 80_000, 5, 0.1),
    ],
)
def test_small_data_are_trained_for_more_epochs(side, count, epochs, fraction):
    recipe = proxy_recipe(side, count)
    assert (recipe.training.epochs, recipe.fraction) == (epochs, fraction)


def test_a_worker_keeps_the_memory_it_frees():
    """By default glibc returns blocks of this size, and each use takes fresh pages for them."""
    code = """
import json, resource
from mnas_search.common.machine import keep_freed_memory
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in (36, 40, 48):
        torch.ones(size << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
default = [faults() for _ in range(12)]
keep_freed_memory()
print(json.dumps([default[-4:], [faults() for _ in range(12)][-4:]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    default, kept = json.loads(done.stdout)
    if min(default) < 1000:
        pytest.skip("another memory allocator, or huge pages")
    assert max(kept) < 1000


@pytest.mark.full
def test_the_plain_loop_of_the_benchmark_trains_the_same_candidates():
    workload = Workload(name="digits", data="digits", proxy="epochs=1,fraction=0.1")
    one, two = train_plainly(workload, [(0, 1), (0, 1)], Settings(threads=1, loaders=0))
    assert one.accuracy == two.accuracy > 0  # seeded
    assert 0 < one.cpu
    assert candidates(3)[:2] == candidates(2)


def test_a_list_of_work_keeps_its_order():
    work = [EvaluationJob(number=n, network=B0, seed=n) for n in range(3)]
    queue = WorkList(work)
    taken = [queue.next() for _ in range(4)]
    assert taken == [*work, None]
    for piece in reversed(work):
        assert not queue.finished
        queue.record(piece, Evaluation(accuracy=piece.seed / 10), float(piece.seed))
    assert queue.finished
    found = [(outcome.accuracy, seconds) for outcome, seconds in queue.outcomes]
    assert found == [(0.0, 0.0), (0.1, 1.0), (0.2, 2.0)]


@pytest.mark.slow
def test_the_benchmark_command(run_cli):
    code, out, err = run_cli("bench", "proxy", "--quick", "--format", "json")
    assert code == 0, err
    tables = json.loads(out)
    assert tables["speed"][0]["loop"] == "ours, 2 workers"
    overhead = next(r for r in tables["workers"] if r["measure"].startswith("overhead"))
    assert overhead["value"] < 0.15
