"""Running a module on a device: prepared once, then called repeatedly."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mnas_search.architecture.blocks import BlockPlan
from mnas_search.architecture.cost.latency.conditions import Conditions
from mnas_search.architecture.cost.latency.parts import Part
from mnas_search.common.errors import UsageError, WorkFailed, shorten, single_line
from mnas_search.common.extras import require_packages
from mnas_search.common.machine import keep_freed_memory
from mnas_search.evaluators.latency.stopwatch import Run
from mnas_search.networks import network

_MAX_LENGTH = 300  # characters of what torch says


@contextlib.contextmanager
def ready(conditions: Conditions) -> Iterator[None]:
    """Set the number of threads and keep freed memory: glibc would otherwise return large maps
    after every run and fetch fresh pages in the next one, which servers avoid as well.

    Raises:
        UsageError: the device is not there.
        WorkFailed: what runs inside asks too much of it, such as memory.
    """
    if conditions.device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device 'cuda' requires a GPU that torch finds; without one, use cpu, compiled or "
            "onnxruntime"
        )
    if conditions.device == "onnxruntime":
        require_packages("onnx", "onnx", "onnxscript", "onnxruntime")
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(conditions.threads)
    try:
        yield
    except RuntimeError as error:  # torch's for all that goes wrong
        raise WorkFailed(
            f"{conditions}: {shorten(single_line(str(error)), _MAX_LENGTH)}"
        ) from error
    finally:
        torch.set_num_threads(threads)


def module_of(part: Part) -> nn.Module:
    """Return a part's module, freshly initialised."""
    whole, plan = part.architecture, part.plan
    if isinstance(plan, BlockPlan):
        return network.block_class(plan.kind)(plan, network.norm_of(whole), 0.0)
    if part.role == "stem":
        return nn.Sequential(*network.stem(whole, plan))
    return _Head(*network.head(whole, plan))


class _Head(nn.Module):
    """What comes after the blocks."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        *wide, self.classifier = layers
        self.wide = nn.Sequential(*wide)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.wide(x).mean((2, 3)))
        return logits


def prepare(module: nn.Module, images: Tensor, conditions: Conditions) -> Run:
    """Return what runs `module`, in evaluation mode, on `images` [N, C, H, W] and waits for it."""
    return _PREPARE[conditions.device](module.eval(), images, conditions.threads)


def _eager(module: nn.Module, images: Tensor, threads: int) -> Run:
    del threads  # torch's own number
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> object:
        return module(images)

    return run


def _compiled(module: nn.Module, images: Tensor, threads: int) -> Run:
    # Exported first: modules of one class share their code, and torch.compile stops
    # compiling the same code after about eight times.
    with torch.no_grad():
        graph = torch.export.export(module, (images,)).module()
    graph.compile(dynamic=False, fullgraph=True)
    return _eager(graph, images, threads)


def _onnxruntime(module: nn.Module, images: Tensor, threads: int) -> Run:
    import onnxruntime

    from mnas_search.networks.onnx_graph import simplify, to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        simplify(to_onnx(module, images)), options, providers=["CPUExecutionProvider"]
    )
    given = {"images": images.numpy()}
    return lambda: session.run(None, given)


def _cuda(module: nn.Module, images: Tensor, threads: int) -> Run:
    start = _eager(module.cuda(), images.cuda(), threads)

    def run() -> object:
        result = start()
        torch.cuda.synchronize()
        return result

    return run


_PREPARE: dict[str, Callable[[nn.Module, Tensor, int], Run]] = {
    "cpu": _eager,
    "compiled": _compiled,
    "onnxruntime": _onnxruntime,
    "cuda": _cuda,
}
