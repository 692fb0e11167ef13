"""Ctrl-C and SIGTERM as exceptions, so that work under way ends in order."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import final

_SAME_MOMENT = 0.05  # seconds: GNU timeout sends its signal to a process and to its group


@final
@dataclass(slots=True)
class Ending:
    """Whether the process was asked to end.

    Attributes:
        signal: SIGINT (Ctrl-C) or SIGTERM (Slurm, Kubernetes, `kill`), the first that arrived;
            None if neither has. What is raised does not tell: code outside Python that a signal
            interrupts, as Ray's, raises `KeyboardInterrupt` for both.
    """

    signal: int | None = None


@contextmanager
def ending_in_order() -> Iterator[Ending]:
    """Raise `KeyboardInterrupt` for the first Ctrl-C or SIGTERM within the block, and tell which
    it was; a second signal ends the process at once. Signals that the process ignores (`nohup`)
    stay ignored. Without effect outside the main thread."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a child that was forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if ending.signal is not None:
            return
        ending.signal = number
        time.sleep(_SAME_MOMENT)
        for one in before:  # not by a handler: code outside Python may be running then
            signal.signal(one, signal.SIG_DFL)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, end)
    try:
        yield ending
    finally:
        if ending.signal is None:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def keeping_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM where the code in the block installs its own, as Ray
    does; a signal that arrives meanwhile and makes that one exit is delivered again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as ended:
        if ended.code != signal.SIGTERM:
            raise
        signal.signal(signal.SIGTERM, before)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
