"""Zero-cost scores: of an untrained network on one batch of images; larger is said to be better.

Each takes (network, images [N, 3, R, R], labels [N]), may change the network, and leaves its
randomness to torch's default generator. Sources are cited; no code of theirs is used.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnas_search.networks.layers import NoResidual, Residual, SqueezeExcite

Score = Callable[[nn.Module, Tensor, Tensor], float]
_TINY = 1e-12


def synflow(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """log of the synaptic flow: sum of |w| dR/d|w|, R of an image of ones (arXiv 2006.05467).
    Batch norm is left out, as where it is used as a score (arXiv 2101.08134); double precision."""
    del labels
    network = _without(network, nn.BatchNorm2d).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    ones = torch.ones((1, *images.shape[1:]), dtype=torch.float64)
    torch.autograd.backward(network(ones).sum())
    with torch.no_grad():
        flow = torch.stack([(p * _grad(p)).sum() for p in _with_gradient(network)]).sum()
    return float(flow.log())


def grad_norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the sum over weights of the norm of the loss's gradient (arXiv 2101.08134)."""
    _gradients(network, images, labels)
    return sum(float(_grad(p).norm()) for p in _with_gradient(network) if p.ndim > 1)


def snip(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the sum over weights of |w dL/dw| (SNIP, arXiv 1810.02340)."""
    _gradients(network, images, labels)
    return sum(
        float((p.detach() * _grad(p)).abs().sum()) for p in _with_gradient(network) if p.ndim > 1
    )


def jacob_cov(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return how different the images' input gradients are (arXiv 2006.04647v1).

    -sum(log(v) + 1 / v) over the eigenvalues v of the correlations between gradients.
    """
    del labels
    images = images.clone().requires_grad_()
    network.train()
    torch.autograd.backward(network(images).sum())
    rows = _grad(images).flatten(1).double()
    values = torch.linalg.eigvalsh(torch.corrcoef(rows)).clamp_min(0) + 1e-5
    return -float((values.log() + 1 / values).sum())


def nwot(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return how different the images' patterns of active ReLUs are (NASWOT, arXiv 2006.04647).
    log |det K|, where K counts the ReLUs that agree in two images."""
    del labels
    kernel = torch.zeros((len(images), len(images)), dtype=torch.float64)

    def add(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        active = (output > 0).flatten(1).float()
        kernel.add_(active @ active.T + (1 - active) @ (1 - active).T)

    with _hooks(_modules(network, nn.ReLU), add), torch.no_grad():
        network.train()(images)
    return float(torch.linalg.slogdet(kernel).logabsdet)


def zen(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Zen-score (arXiv 2102.01063): log of the change of the last map for a small change of a
    Gaussian image, and of what each batch norm divided by, without shortcuts and gates."""
    del labels
    network = _without(network, SqueezeExcite, Residual, nn.Linear).train()
    scales: list[Tensor] = []
    maps: list[Tensor] = []

    def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        scales.append(inputs[0].var((0, 2, 3)).mean().sqrt().log())

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        maps.append(output.clone())

    with torch.no_grad():
        for module in _modules(network, nn.Conv2d):
            module.weight.normal_()  # type: ignore[operator]
        x = torch.randn_like(images)
        with _hooks(_modules(network, nn.ReLU)[-1:], keep):
            with _hooks(_modules(network, nn.BatchNorm2d), add, before=True):
                network(x)
            network(x + 0.01 * torch.randn_like(x))
        change = (maps[0] - maps[1]).abs().mean()
    return float(change.log() + torch.stack(scales).sum())


def zico(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """ZiCo (arXiv 2301.11300): sum over layers of log of the sum over their weights of mean |g|
    over the standard deviation of g, over the batch's quarters."""
    rows: dict[str, list[Tensor]] = {}
    for part, wanted in zip(images.chunk(4), labels.chunk(4), strict=True):
        network.zero_grad()
        _gradients(network, part, wanted)
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1 and parameter.grad is not None:
                rows.setdefault(name, []).append(parameter.grad.flatten().clone())
    total = 0.0
    for gradients in rows.values():
        stacked = torch.stack(gradients)
        deviation = stacked.std(0, correction=0)
        moving = deviation > 0
        ratio = stacked.abs().mean(0)[moving] / deviation[moving]
        if ratio.numel():
            total += float(ratio.sum().log())
    return total


def meco(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """MeCo (NeurIPS 2023): sum over convolutions of the smallest eigenvalue of the correlations
    between the channels of their map, one Gaussian image."""
    del labels
    total = 0.0

    def add(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        rows = output[0].flatten(1).double()
        if rows.shape[1] > 1:
            correlation = torch.nan_to_num(torch.corrcoef(rows))
            total += float(torch.linalg.eigvalsh(correlation)[0])

    with _hooks(_modules(network, nn.Conv2d), add), torch.no_grad():
        network.train()(torch.randn_like(images[:1]))
    return total


def expressivity(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """AZ-NAS's expressivity (arXiv 2403.19232): sum over blocks of the entropy of the principal
    components' variances of their output, Gaussian images."""
    del labels
    return sum(_block_entropies(network, torch.randn_like(images)))


def progressivity(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return AZ-NAS's progressivity: the smallest gain of that entropy from block to block."""
    del labels
    values = _block_entropies(network, torch.randn_like(images))
    return min(after - before for before, after in itertools.pairwise(values))


def trainability(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """AZ-NAS's trainability: mean over blocks of 2 - s - 1/s, s the spectral norm of the block's
    Jacobian over positions, estimated with random signs as the gradient behind it."""
    del labels
    maps = _block_maps(network.train(), torch.randn_like(images))
    values = []
    for before, after in itertools.pairwise(maps):
        signs = torch.randint(0, 2, after.shape).to(after) * 2 - 1
        (gradient,) = torch.autograd.grad(after, before, signs, retain_graph=True)
        stride = before.shape[-1] // after.shape[-1]
        if stride > 1:
            gradient = F.avg_pool2d(gradient, stride, divisor_override=1)
        behind = signs.transpose(0, 1).flatten(1)
        size = after.shape[-1]
        ahead = gradient[..., :size, :size].transpose(0, 1).flatten(1)
        norm = float(torch.linalg.matrix_norm(ahead @ behind.T / behind.shape[1], 2)) + _TINY
        values.append(2 - norm - 1 / norm)
    return sum(values) / len(values)


def _block_entropies(network: nn.Module, images: Tensor) -> list[float]:
    entropies = []
    with torch.no_grad():
        for output in _block_maps(network.train(), images):
            rows = output.transpose(0, 1).flatten(1)
            covariance = torch.cov(rows).reshape(len(rows), len(rows))  # a number for one channel
            variances = torch.linalg.eigvalsh(covariance.double()).clamp_min(0)
            share = variances / variances.sum().clamp_min(_TINY)
            entropies.append(float(-(share * share.clamp_min(_TINY).log()).sum()))
    return entropies


def _block_maps(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the outputs of all blocks."""
    maps: list[Tensor] = []
    blocks = itertools.chain.from_iterable(network.blocks)  # type: ignore[arg-type]
    with _hooks(blocks, lambda _m, _i, output: maps.append(output)):
        network(images)
    return maps


def _gradients(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    network.train()
    torch.autograd.backward(F.cross_entropy(network(images), labels))


def _with_gradient(network: nn.Module) -> Iterator[nn.Parameter]:
    return (p for p in network.parameters() if p.grad is not None)


def _grad(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def _without(network: nn.Module, *kinds: type[nn.Module]) -> nn.Module:
    """Copy the network with modules of these kinds replaced by identities."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                parent.add_module(
                    name, NoResidual() if isinstance(child, Residual) else nn.Identity()
                )
    return network


def _modules(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


@contextmanager
def _hooks(
    modules: Iterable[nn.Module], hook: Callable[..., None], *, before: bool = False
) -> Iterator[None]:
    """Have `hook` called with what modules compute, or `before` that with their inputs."""
    handles = [
        m.register_forward_pre_hook(hook) if before else m.register_forward_hook(hook)
        for m in modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
