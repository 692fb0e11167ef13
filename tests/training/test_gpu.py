"""What only a GPU shows: `pytest -m gpu`."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mnas_search import reference
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.data import Split, digits
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.space.choices import sample
from mnas_search.networks import build
from mnas_search.training import devices, loop
from mnas_search.training.fast.layers import use_lean_layers
from mnas_search.training.proxy import proxy_architecture
from mnas_search.training.recipe import Recipe
from mnas_search.training.recipes import RECIPES
from mnas_search.training.supernet import (
    SupernetRecipe,
    make_supernet,
    read_supernet,
    reading_images,
    train_supernet,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

B0 = reference.architecture("efficientnet_b0")
PROXY = proxy_architecture(B0, width=0.25, resolution=32, num_classes=10, divisor=1)


@pytest.fixture(autouse=True)
def _same_products_as_a_cpu():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def images(device: str, *, count: int = 64, side: int = 32) -> loop.Images:
    rng = np.random.default_rng(0)
    split = Split(
        images=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        labels=np.arange(count) % 10,
    )
    normal = loop.normalisation(split)
    return loop.Images(split, resolution=side, normalisation=normal, flips=True, device=device)


def network(device: str, architecture=PROXY) -> nn.Module:
    torch.manual_seed(0)
    return build(architecture).to(device, memory_format=torch.channels_last)


def losses(module: nn.Module, data: loop.Images, recipe: Recipe, *, captured: bool = False):
    training = loop.Training(module, data, recipe, seed=0)
    if captured:
        devices.optimize_for_device(module, data, replace(recipe, epochs=1_000))
        assert "forward" in vars(module), "the network was not captured"
    return [training.train_epoch() for _ in range(recipe.epochs)]


# All images in every step: the order, which differs between devices, is the same for the loss.
WHOLE = Recipe(epochs=5, batch_size=64, learning_rate=0.05, augmentations=())


def test_losses_are_those_of_a_cpu(monkeypatch):
    expected = losses(network("cpu"), images("cpu"), WHOLE)
    half = losses(network("cuda"), images("cuda"), WHOLE)
    assert half == pytest.approx(expected, rel=0.05)
    monkeypatch.setattr(
        loop, "mixed_precision", lambda device: torch.autocast("cuda", enabled=False)
    )
    assert losses(network("cuda"), images("cuda"), WHOLE) == pytest.approx(expected, rel=2e-3)


def test_a_captured_training_has_the_losses_of_an_eager_one():
    recipe = replace(WHOLE, batch_size=16)
    eager = losses(network("cuda"), images("cuda"), recipe)
    assert losses(network("cuda"), images("cuda"), recipe, captured=True) == pytest.approx(
        eager, rel=0.03
    )


def test_a_captured_step_has_the_gradients_of_an_eager_one():
    data, one = images("cuda"), network("cuda")
    batch = data.normalise(data.batch(slice(None)))
    two = copy.deepcopy(one)
    devices.capture(two, batch)
    found = []
    for module in (one, two):
        module.train()
        with loop.mixed_precision(batch.device):
            logits = module(batch)
        logits.float().square().mean().backward()
        gradients = torch.cat([p.grad.flatten() for p in module.parameters()])
        found.append((logits.detach().float(), gradients))
    for expected, given in zip(*found, strict=True):
        assert (given - expected).norm() / expected.norm() < 1e-2


def test_capturing_keeps_the_state(monkeypatch):
    data, module = images("cuda"), network("cuda")
    before = copy.deepcopy(module.state_dict())
    devices.optimize_for_device(module, data, replace(WHOLE, epochs=1_000))
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def test_a_captured_network_drops_anew_in_every_step():
    data = images("cuda")
    module = network("cuda", replace(PROXY, dropout_rate=0.5)).train()
    batch = data.normalise(data.batch(slice(None)))
    devices.capture(module, batch)
    with loop.mixed_precision(batch.device):
        one, two = module(batch).detach().clone(), module(batch).detach().clone()
    assert not torch.equal(one, two)


def test_a_captured_network_evaluates_any_number_of_images():
    data, module = images("cuda", count=70), network("cuda")
    devices.capture(module, data.normalise(data.batch(slice(0, 64))))
    assert len(loop.correct(module, data)) == 70


def test_layers_with_fewer_operations_compute_the_same():
    data, one = images("cuda"), network("cuda").train()
    two = copy.deepcopy(one)
    use_lean_layers(two)
    batch = data.normalise(data.batch(slice(None)))
    torch.testing.assert_close(two(batch), one(batch), rtol=1e-4, atol=1e-5)
    for name, value in one.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_networks_run_in_bfloat16():
    data, module = images("cuda"), network("cuda").eval()
    batch = data.normalise(data.batch(slice(None)))
    with torch.no_grad():
        expected = module(batch)
        with loop.mixed_precision(batch.device):
            half = module(batch)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_train(name):
    recipe = RECIPES[name].override(epochs=2, batch_size=16)
    found = losses(network("cuda"), images("cuda"), recipe, captured=True)
    assert all(np.isfinite(found))


def test_a_batch_without_room_is_reported():
    with pytest.raises(torch.OutOfMemoryError) as error:
        torch.empty(2**50, device="cuda")
    assert devices.out_of_memory(error.value)


def test_memory_runs_out_and_the_next_candidate_trains():
    evaluator = ProxyTraining(proxy="epochs=1")
    [expected] = evaluator.evaluate(B0, seed=0)
    devices.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**20) / total)
    try:
        with pytest.raises(MemoryError, match="a batch of"):
            list(evaluator.evaluate(B0, seed=0))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    [found] = evaluator.evaluate(B0, seed=0)
    assert found.accuracy == pytest.approx(expected.accuracy, abs=0.1)


def test_candidates_leave_no_memory_behind():
    evaluator = ProxyTraining(proxy="epochs=4,fraction=1")  # captured
    list(evaluator.evaluate(B0, seed=0))
    before = torch.cuda.memory_allocated()
    for seed in (1, 2):
        list(evaluator.evaluate(B0, seed=seed))
    assert torch.cuda.memory_allocated() <= before + 2**20


def test_a_supernet_runs_the_networks_of_its_slices():
    space, data = NasBenchMacro(), replace(digits(), num_classes=10)
    recipe = SupernetRecipe(width=0.25, resolution=32, steps=3, batch_size=16)
    supernet = train_supernet(space, data, recipe, seed=0)
    chosen = space.decode(sample(space.decisions, np.random.default_rng(0)))
    pixels, labels = reading_images(data, recipe)
    alone = build(supernet.network_of(chosen)).cuda()
    alone.load_state_dict(supernet.slice(chosen))
    alone.train()
    with torch.no_grad():
        torch.testing.assert_close(
            supernet.logits(chosen, pixels), alone(pixels), rtol=1e-3, atol=1e-4
        )
    [reading] = read_supernet(supernet, [chosen], pixels, labels)
    assert np.isfinite(reading.cross_entropy)


def test_a_supernet_starts_as_on_a_cpu(monkeypatch):
    space, data = NasBenchMacro(), digits()
    recipe = SupernetRecipe(width=0.25, resolution=32)
    ours = make_supernet(space, data, recipe, seed=0).state_dict()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    expected = make_supernet(space, data, recipe, seed=0).state_dict()
    assert all(torch.equal(ours[name].cpu(), value) for name, value in expected.items())
