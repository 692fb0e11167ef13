"""The evaluator of runs that are killed: it takes its time, and keeps a log outside the run."""

import os
import time
from pathlib import Path

from mnas_search import Architecture
from mnas_search.benchmarks.reliability.subject import score

LOG = "MNAS_SEARCH_KILLS_LOG"  # environment variable: the file of the log
SECONDS = 0.15


def slow(architecture: Architecture, seed: int) -> float:
    """Return an accuracy that depends on the seed a little; log the network at the end."""
    time.sleep(SECONDS)
    with Path(os.environ[LOG]).open("a") as file:
        file.write(f"{architecture.fingerprint} {seed}\n")
    return score(architecture) * (1 - seed % 100 / 1e4)
