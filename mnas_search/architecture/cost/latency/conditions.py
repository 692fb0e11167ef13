"""The conditions of a latency: device, threads, batch size, processor and packages."""

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mnas_search.common.checks import check_choice, check_integer

DEVICES = {
    "cpu": "PyTorch, eager, channels last",
    "compiled": "PyTorch on the CPU, compiled by torch.compile",
    "onnxruntime": "ONNX Runtime on the CPU",
    "cuda": "PyTorch on the first GPU, eager, channels last",
}

MAX_THREADS, MAX_BATCH_SIZE = 1_024, 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions under which networks are timed."""

    device: str = "cpu"  # one of `DEVICES`
    threads: int = 1  # CPU threads within one operator, at most 1,024
    batch_size: int = 1  # images per forward pass, at most 65,536

    def __post_init__(self) -> None:
        check_choice("device", self.device, DEVICES)
        check_integer("threads", self.threads, 1, MAX_THREADS)
        check_integer("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)

    def __str__(self) -> str:
        threads = "" if self.device == "cuda" else f", {self.threads} thread"
        several = "s" if threads and self.threads > 1 else ""
        return f"{self.device}{threads}{several}, batch {self.batch_size}"


def machine(conditions: Conditions) -> dict[str, str]:
    """Return the processor and the packages that decide latencies, by name; for a missing device
    as well, so that its table never matches this machine."""
    import torch

    found = {"processor": _processor(), "torch": torch.__version__}
    if conditions.device == "cuda":
        available = torch.cuda.is_available()
        found["processor"] = torch.cuda.get_device_name() if available else "no GPU"
    if conditions.device == "onnxruntime":
        found["onnxruntime"] = "not installed"
        with contextlib.suppress(PackageNotFoundError):
            found["onnxruntime"] = version("onnxruntime")
    return found


def describe(machine: Mapping[str, str]) -> str:
    """Format a machine: AMD EPYC, torch 2.13.0."""
    others = [f"{name} {text}" for name, text in machine.items() if name != "processor"]
    return ", ".join([machine.get("processor", "unknown processor"), *others])


def _processor() -> str:
    """Return the name of the CPU, or its architecture if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
