"""Evaluators that runs in the tests name as `file.py:Name`."""

import os
import signal
import time
from pathlib import Path

from mnas_search.cost import cost
from mnas_search.interfaces import Evaluator, Resources
from mnas_search.trials import Evaluation


def by_params(architecture):
    """Deterministic, at once."""
    params = cost(architecture).params
    return params / (params + 2e6)


def slow(architecture, *, seed):
    """A third of a second, with seed noise; appends what it trained to a file."""
    time.sleep(0.3)
    log = os.environ.get("TRAINED_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write(f"{architecture.fingerprint} {seed} {os.getpid()}\n")
    return by_params(architecture) * (1 - (seed % 100) / 1e4)


def troubled(architecture, *, seed):
    """Raises, gives NaN, or dies, as the network wants it."""
    kind = int(architecture.fingerprint, 16) % 3
    if kind == 0:
        raise ValueError("this one\ncannot be trained")
    if kind == 1:
        return float("nan")
    return by_params(architecture)


def fatal(architecture, *, seed):
    """Kills its worker the first time a network is seen, for every other network."""
    mark = Path(os.environ["TRAINED_LOG"]) / architecture.fingerprint
    kind = int(architecture.fingerprint, 16) % 3
    if kind == 0 and not mark.exists():
        mark.touch()
        os._exit(1)
    if kind == 1:
        os._exit(1)
    return by_params(architecture)


class Cheap(Evaluator):
    """So cheap that it runs in process."""

    noisy = False
    resources = None

    def __init__(self, *, data=None):
        del data

    def evaluate(self, network, *, seed):
        del seed
        yield Evaluation(accuracy=by_params(network), info={"pid": os.getpid()})


class Gpu(Cheap):
    """Wants a GPU."""

    resources = Resources(cpus=1, gpus=1)


not_an_evaluator = 3


def brisk(architecture):
    """A thirtieth of a second, without noise."""
    time.sleep(0.03)
    return by_params(architecture)


class Halved(Cheap):
    """Has a second opinion that disagrees: it likes small networks."""

    def halves(self):
        return Cheap(), Contrary()


class Contrary(Cheap):
    """The opposite of `by_params`."""

    def evaluate(self, network, *, seed):
        del seed
        yield Evaluation(accuracy=1 - by_params(network), std=0.01)


class Rungs(Evaluator):
    """Nine epochs with rungs at 1 and 3; a line a trained epoch goes to a file.

    Where `KILL_AT` says so, the process that trains so many epochs is killed, as by kill -9.
    """

    noisy = False
    resources = Resources(cpus=1)

    def __init__(self):
        self.rungs = ()

    def with_rungs(self, factor):
        one = type(self)()
        one.rungs = (1, factor)
        return one

    def evaluate(self, network, *, seed):
        final = by_params(network)
        for epoch in range(1, 10):
            log = Path(os.environ["TRAINED_LOG"])
            with log.open("a") as file:
                file.write(f"{network.fingerprint} {epoch} {os.getpid()}\n")
            if os.environ.get("KILL_AT") == str(len(log.read_text().splitlines())):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)
            if epoch in self.rungs:
                yield Evaluation(accuracy=final * (0.5 + epoch / 18), rung=epoch)
        yield Evaluation(accuracy=final)


class TroubledRungs(Rungs):
    """NaN at the second rung, or a dead worker on the way to it, as the network wants it."""

    def evaluate(self, network, *, seed):
        kind = int(network.fingerprint, 16) % 4
        mark = Path(f"{os.environ['TRAINED_LOG']}.{network.fingerprint}")
        for evaluation in super().evaluate(network, seed=seed):
            if kind == 0 and evaluation.rung == 3:
                evaluation = Evaluation(accuracy=float("nan"), rung=3)
            yield evaluation
            if kind == 1 and not mark.exists():
                mark.touch()
                os._exit(1)
