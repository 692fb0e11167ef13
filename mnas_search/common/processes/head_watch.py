"""Notices that the head of a cluster is gone, before the cluster's library ends the process."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mnas_search.common.errors import WorkFailed

_PERIOD = 2.0  # seconds between looks
_ANSWER = 5.0  # seconds for an answer
_PATIENCE = 30.0  # seconds without one after which a head is gone; Ray ends the process after 60
_LAST = 15.0  # seconds more for the main thread to end in order
ELSEWHERE = (
    "`mnas-search resume` with another --ray-address, or with --ray-address local for this "
    "machine, continues elsewhere"
)


class HeadGone(WorkFailed):
    """The head of the cluster that the work runs on is gone."""


class _Interruption(BaseException):
    """What the signal raises; no `Exception`, so that no library catches it."""


def answers(address: str) -> bool:
    """Return whether something listens at HOST:PORT; true for an address of another form."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def watching(address: str, name: str) -> Iterator[None]:
    """Raise `HeadGone` in the block when nothing listens at an address any more; end the process
    with code 1 where it cannot be raised. Without effect outside the main thread and on Windows.

    Args:
        name: of the cluster, in the message.
    """
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "SIGUSR2")):
        yield
        return
    text = f"the Ray cluster {name} is gone: nothing answers at {address}; {ELSEWHERE}"
    ended = threading.Event()
    before = signal.signal(signal.SIGUSR2, _interrupt)
    threading.Thread(target=_watch, args=(address, text, ended), daemon=True).start()
    try:
        yield
    except _Interruption:
        raise HeadGone(text) from None
    finally:
        ended.set()
        signal.signal(signal.SIGUSR2, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interruption


def _watch(address: str, text: str, ended: threading.Event) -> None:
    answered = time.monotonic()
    while not ended.wait(_PERIOD):
        if answers(address):
            answered = time.monotonic()
        elif time.monotonic() - answered >= _PATIENCE:
            os.kill(os.getpid(), signal.SIGUSR2)
            if not ended.wait(_LAST):
                print(f"error: {text}", file=sys.__stderr__, flush=True)
                os._exit(1)
            return
