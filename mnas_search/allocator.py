"""glibc's allocator, told to keep what it has."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Keep freed blocks for the next step of this process, whatever their size.

    By default glibc gives large ones back to the system, and every step pays for fresh pages.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if set_option is not None:
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1)):
            set_option(option, value)
