"""A limit on the time of code that may hang: an alarm that interrupts Python, and a watchdog that
ends the process where nothing can be interrupted.

    with interrupted_after(60.0):       # raises `TimedOut` in the block after a minute
        train()

Python runs handlers of signals between two of its own instructions, in the main thread. Code that
waits or computes outside Python for longer than `GRACE` after the alarm is ended with its process.
"""

import faulthandler
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

GRACE = 10.0  # seconds between the alarm and the end of the process
_AGAIN = 1.0  # seconds between alarms: user code may have caught the first
_HELD = 2.0  # seconds more that a process has whose interpreter is stuck
_LONGEST = 1e7  # seconds that timers accept, four months


class TimedOut(BaseException):
    """The time is over; no `Exception`, so that few handlers of user code catch it."""


@contextmanager
def interrupted_after(seconds: float, stuck: TextIO | None = None) -> Iterator[None]:
    """Raise `TimedOut` in the block after this time; end the process with code 1 where it cannot
    be raised. Without effect for infinity, outside the main thread and on Windows.

    Args:
        stuck: gets the place in the code before the process is ended; standard error by default.
    """
    main = threading.current_thread() is threading.main_thread()
    if not (math.isfinite(seconds) and main and hasattr(signal, "setitimer")):
        yield
        return
    seconds = min(max(seconds, 1e-3), _LONGEST)
    place = sys.__stderr__ if stuck is None else stuck
    watch = threading.Timer(seconds + GRACE, _end, (seconds, place))
    watch.daemon = True
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        watch.start()
        if place is not None:  # where Python is stuck, the timer's thread is too
            faulthandler.dump_traceback_later(seconds + GRACE + _HELD, exit=True, file=place)
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # where the alarm interrupts the `finally` above, too: the next one is `_AGAIN` away
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        watch.cancel()
        signal.signal(signal.SIGALRM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise TimedOut


def _end(seconds: float, place: TextIO | None) -> None:
    """End the process, and say why."""
    if place is not None:
        faulthandler.dump_traceback(file=place)
        place.flush()
    if sys.__stderr__ is not None:
        print(
            f"error: code that has timed out, after {seconds:.0f} s, cannot be interrupted: the "
            "process ends; resumed, the work continues without it",
            file=sys.__stderr__,
            flush=True,
        )
    os._exit(1)
