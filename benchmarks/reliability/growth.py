"""How a search grows with its trials: CPU seconds of a decision, of a resume, and memory.

A search of `count` trials is made for each controller in a journal on disk, with accuracies that
are read off the fingerprints. The journal is then read and replayed with all its checks, as
`mnas-search resume` does, and the next proposal must be the one of the search itself.
"""

import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mnas_search.architecture.traced_network import Network
from mnas_search.benchmarks.results import Outcome, Record
from mnas_search.common import plugins
from mnas_search.nas.controller import load_controller
from mnas_search.nas.core import Search
from mnas_search.nas.journal import Journal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.contract import SearchSpace, make_space
from mnas_search.nas.trial import Evaluation

_SPACE, _TARGET = "efficientnet", 400e6
_STEPS = (100, 500, 1_000, 5_000)  # trials at which decisions are timed
_TIMED = 25  # decisions of a figure


def run(
    *,
    count: int,
    seed: int,
    note: Callable[[str], None],
    controllers: Sequence[str] = (),
) -> Outcome:
    """Measure each controller over `count` trials; all installed ones by default."""
    names = controllers or [plugin.name for plugin in plugins.installed("controllers")]
    space = make_space(_SPACE, resolution=224, num_classes=1000)
    records, failures = [], []
    for name in names:
        note(f"{name}: {count:,} trials")
        record, is_equal = measure(name, space, count=count, seed=seed)
        records.append(record)
        if not is_equal:
            failures.append(f"{name}: the resumed search proposes another network")
    table = [{key: str(value) for key, value in record.items()} for record in records]
    return Outcome(records=records, table=table, files=(), failures=tuple(failures))


def measure(name: str, space: SearchSpace, *, count: int, seed: int) -> tuple[Record, bool]:
    """Return the figures of one controller, and whether the resumed search proposes the same."""
    record: Record = {"controller": name, "trials": count}
    with tempfile.TemporaryDirectory(prefix="mnas-search-") as folder:
        path, before = Path(folder) / "journal.jsonl", _peak_memory()
        with Journal(path) as journal:
            search = _search(name, space, journal, seed)
            seconds = [_one_trial(search) for _ in range(count)]
            record["proposals"] = search.asked
            proposed = _peek(search)
        for step in sorted({*(s for s in _STEPS if s < count), count}):
            median = float(np.median(seconds[max(0, step - _TIMED) : step]))
            record[f"ms an ask at {step}"] = round(1e3 * median, 1)
        content = path.read_bytes()
        path.write_bytes(content[: content[:-1].rfind(b"\n") + 1])  # without the last proposal
        began = time.process_time()
        with Journal(path) as journal:
            resumed = _search(name, space, journal, seed)
            record["seconds to resume"] = round(time.process_time() - began, 2)
            record["MB of memory"] = round((_peak_memory() - before) / 1e6)
            return record, _peek(resumed) == proposed


def _search(name: str, space: SearchSpace, journal: Journal, seed: int) -> Search:
    objective = Objective(target=_TARGET)
    return Search(
        space=space,
        objective=objective,
        controller=load_controller(name)(problem(space, objective)),
        trials=sys.maxsize,
        seed=seed,
        journal=journal,
    )


def _one_trial(search: Search) -> float:
    """Return the seconds of a proposal; a trial has several where some repeat known networks."""
    began, asked = time.process_time(), search.asked
    job = search.next()
    seconds = (time.process_time() - began) / (search.asked - asked)
    assert job is not None
    search.record(job, Evaluation(accuracy=_accuracy(job.network)), 1.0)
    return seconds


def _peek(search: Search) -> str:
    """Return the fingerprint of the next proposal."""
    job = search.next()
    assert job is not None
    return job.network.fingerprint


def _accuracy(network: Network) -> float:
    return 0.5 + 0.4 * (zlib.crc32(network.fingerprint.encode()) % 1_000) / 1_000


def _peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
