"""This machine and process: CPUs, versions, glibc's allocator, torch on one thread."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

_PACKAGES = ("mnas-search", "torch", "numpy", "optuna", "ray", "scikit-learn")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks of any size for later steps of this process. By default it
    returns large ones to the system, and every step pays for fresh pages."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if set_option is not None:
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1)):
            set_option(option, value)


def cpu_count() -> int:
    """Count the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread. Two threads in each of two processes collapse under contention, and
    with one thread the same seed gives the same bits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
