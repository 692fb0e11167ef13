"""Settings of this process: glibc's allocator keeps what it has, torch takes one thread."""

import contextlib
import ctypes
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Keep freed blocks for the next step of this process, whatever their size.

    By default glibc gives large ones back to the system, and every step pays for fresh pages.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if set_option is not None:
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1)):
            set_option(option, value)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: two threads in each of two processes collapse under contention, and
    with one the same seed gives the same bits wherever it is run."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
