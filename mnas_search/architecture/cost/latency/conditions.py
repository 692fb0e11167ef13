"""What a latency holds for: the device, how it is used, and what it is."""

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mnas_search.common.errors import UsageError

DEVICES = {
    "cpu": "PyTorch, eager, channels last",
    "compiled": "PyTorch on the CPU, compiled by torch.compile",
    "onnxruntime": "ONNX Runtime on the CPU",
    "cuda": "PyTorch on the first GPU, eager, channels last",
}

_MOST = {"threads": 1_024, "batch_size": 65_536}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How networks are run.

    Attributes:
        device: one of `DEVICES`.
        threads: of the CPU, inside one operator, at most 1,024.
        batch_size: images of one forward pass, at most 65,536.
    """

    device: str = "cpu"
    threads: int = 1
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UsageError(f"device {self.device!r}; allowed: {', '.join(DEVICES)}")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise UsageError(f"{name} {value!r}; allowed: a whole number from 1 to {most:,}")

    def __str__(self) -> str:
        threads = "" if self.device == "cuda" else f", {self.threads} thread"
        several = "s" if threads and self.threads > 1 else ""
        return f"{self.device}{threads}{several}, batch {self.batch_size}"


def machine(conditions: Conditions) -> dict[str, str]:
    """The processor and the packages that decide latencies, by name; of a device that is not there
    too, so that a table of it is one of another machine."""
    import torch

    found = {"processor": _processor(), "torch": torch.__version__}
    if conditions.device == "cuda":
        there = torch.cuda.is_available()
        found["processor"] = torch.cuda.get_device_name() if there else "no GPU"
    if conditions.device == "onnxruntime":
        found["onnxruntime"] = "not installed"
        with contextlib.suppress(PackageNotFoundError):
            found["onnxruntime"] = version("onnxruntime")
    return found


def describe(machine: Mapping[str, str]) -> str:
    """AMD EPYC, torch 2.13.0."""
    others = [f"{name} {text}" for name, text in machine.items() if name != "processor"]
    return ", ".join([machine.get("processor", "unknown processor"), *others])


def _processor() -> str:
    """The CPU's name where the system tells, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
