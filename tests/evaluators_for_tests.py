"""Evaluators that runs in the tests name as `file.py:Name`."""

import ctypes
import math
import os
import random
import signal
import time
from pathlib import Path

from mnas_search.architecture.cost.count import cost
from mnas_search.nas.evaluator import Evaluator, PriorMember, PriorTimes, Resources
from mnas_search.nas.trial import Evaluation


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


def hanging(architecture, *, seed):
    """Waits for ever, for every other network; appends what it begins to a file."""
    _log(architecture)
    while int(architecture.fingerprint, 16) % 2:
        time.sleep(1)
    return by_params(architecture)


def stuck(architecture, *, seed):
    """Computes for ever outside Python, for every other network; appends what it begins."""
    _log(architecture)
    if int(architecture.fingerprint, 16) % 2:
        sum(range(10**15))
    return by_params(architecture)


def segfault(architecture, *, seed):
    """Reads from address 0, for every third network; for another third, the first time only."""
    log, kind = os.environ["TRAINED_LOG"], int(architecture.fingerprint, 16) % 3
    begun = Path(log).read_text().split() if Path(log).exists() else []
    _log(architecture)
    if kind == 0 or (kind == 1 and architecture.fingerprint not in begun):
        ctypes.string_at(0)
    return by_params(architecture)


def crash(architecture, *, seed):
    """Reads from address 0."""
    ctypes.string_at(0)


def no_memory(architecture):
    """Ends its process as the kernel does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def _log(architecture):
    if log := os.environ.get("TRAINED_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{architecture.fingerprint}\n")


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


class SharedGpu(Cheap):
    """Takes its share of the GPUs there are; which it sees goes to a file."""

    resources = Resources(cpus=1, gpus=None)

    def evaluate(self, network, *, seed):
        del seed
        with Path(os.environ["TRAINED_LOG"]).open("a") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + "\n")
        time.sleep(0.2)
        yield Evaluation(accuracy=by_params(network))


not_an_evaluator = 3


def brisk(architecture):
    """A thirtieth of a second, without noise."""
    time.sleep(0.03)
    return by_params(architecture)


class Halved(Cheap):
    """Has a second opinion that disagrees: it likes small networks."""

    def independent_pair(self):
        return Cheap(), Contrary()


class Contrary(Cheap):
    """The opposite of `by_params`."""

    def evaluate(self, network, *, seed):
        del seed
        yield Evaluation(accuracy=1 - by_params(network), std=0.01)


class Ranking(Evaluator):
    """Accuracies that have nothing to do with cost, plus seed noise of a known size.

    Its recipes: `noise=` standard deviation between seeds, `wait=` seconds, `flat=1` equal
    accuracies, `fail=1` every third network fails.
    """

    resources = None

    def __init__(self, *, data=None, proxy=None):
        del data
        words = [word.split("=") for word in (proxy or "").split(",") if word]
        self.told = {name: float(value) for name, value in words}

    def evaluate(self, network, *, seed):
        time.sleep(self.told.get("wait", 0.0))
        log = os.environ.get("TRAINED_LOG")
        if log:
            with Path(log).open("a") as file:
                file.write(f"{sorted(self.told.items())} {network.fingerprint} {seed}\n")
        key = int(network.fingerprint, 16)
        if self.told.get("fail") and key % 3 == 0:
            raise ValueError("this one cannot be trained")
        accuracy = 0.5 if self.told.get("flat") else 0.25 + key % 1009 / 2018
        noise = self.told.get("noise", 0.0) * random.Random(seed).gauss(0, 1)
        yield Evaluation(accuracy=min(1.0, max(0.0, accuracy + noise)))


class RankingOnWorkers(Ranking):
    """The same, on workers."""

    resources = Resources(cpus=1)


class Rungs(Evaluator):
    """Nine epochs with rungs at 1 and 3; a line a trained epoch goes to a file.

    Where `KILL_AT` says so, the process is killed after this number of epochs, as by kill -9.
    """

    noisy = False
    resources = Resources(cpus=1)

    def __init__(self):
        self.rungs = ()

    def with_intermediate_reports(self, factor):
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


class Ensemble(Evaluator):
    """An evaluator whose members are trained for a prior: step by step, ten to a checkpoint.

    Its recipe: `wait=` seconds a step and a reading, `fail=` the number of a member that fails, or
    -1 for all.
    `KILL_PRIOR_AT=train 20` or `read 7` kills the process that takes this step or reading, as by
    kill -9; the file `TRAINED_LOG` has a line for each.
    """

    resources = Resources(cpus=1)

    def __init__(self, *, data=None, proxy=None):
        words = [word.split("=") for word in (proxy or "").split(",") if word]
        self.told = {name: float(value) for name, value in words}

    def evaluate(self, network, *, seed):
        yield Evaluation(accuracy=by_params(network))

    def measure_prior(self, allows):
        wait = self.told.get("wait", 0.001)
        return PriorTimes(step=wait, reading=wait, max_steps=1_000)

    def prior_member(self, index, count, *, steps, seed, checkpoint, allows):
        return Member(index, steps, seed, checkpoint, self.told)


class Member(PriorMember):
    """Its readings are right but for noise of its seed; those of an untrained one are noise."""

    resources = Resources(cpus=1)

    def __init__(self, index, steps, seed, checkpoint, told):
        self.index, self.steps, self.seed = index, steps, seed
        self.checkpoint, self.told = checkpoint, told

    def train(self):
        done = int(self.checkpoint.read_text()) if self.checkpoint.exists() else 0
        while done < self.steps:
            done += 1
            self._take("train", done)
            if self.told.get("fail") in (self.index, -1) and done > self.steps / 2:
                raise ValueError("this one cannot be trained")
            if done % 10 == 0 or done == self.steps:
                self.checkpoint.write_text(str(done))
                yield done

    def evaluate(self, network, *, seed):
        share = int(self.checkpoint.read_text()) / self.steps
        self._take("read", network.fingerprint)
        noise = random.Random(f"{self.seed} {network.fingerprint}").gauss(0, 1)
        yield Evaluation(accuracy=by_params(network) * math.exp(0.05 * noise / share) / 2)

    def _take(self, what, which):
        time.sleep(self.told.get("wait", 0.0))
        if log := os.environ.get("TRAINED_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{what} {self.index} {which}\n")
            lines = [line for line in Path(log).read_text().splitlines() if line.startswith(what)]
            if os.environ.get("KILL_PRIOR_AT") == f"{what} {len(lines)}":
                os.kill(int(os.environ.get("KILL_PID", os.getpid())), signal.SIGKILL)


def never(architecture):
    """Always raises."""
    raise ValueError("no")
