"""Plug-ins of every kind, of which one place errs; `fuzz` writes copies that name it.

    PLACE, TIME, ACTION: at which call in PLACE, counted from 0, what is done

As the module stands, nothing errs.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mnas_search import (
    Architecture,
    Choices,
    Codes,
    Controller,
    Dataset,
    Decision,
    Evaluation,
    Evaluator,
    Exporter,
    Problem,
    Resources,
    SearchSpace,
    Split,
    Stage,
    StagewiseSpace,
    Trial,
    UsageError,
)
from mnas_search.architecture.traced_network import Network
from mnas_search.testing import ToySpace

PLACE, TIME, ACTION = "nowhere", 0, "ValueError"


class Unprintable(Exception):
    """An exception whose text raises another."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Ending(BaseException):
    """What `except Exception` does not catch."""


def _raise(error: BaseException) -> NoReturn:
    raise error


def _print() -> NoReturn:
    print("printed by a plug-in")
    os.system("echo printed by its child")
    raise ValueError("after printing")


ERRORS: Mapping[str, Callable[[], Any]] = {
    "ValueError": lambda: _raise(ValueError("no good")),
    "two lines": lambda: _raise(ValueError("one\ntwo")),
    "no text": lambda: _raise(ValueError()),
    "OSError": lambda: _raise(OSError("text alone")),
    "errno": lambda: _raise(FileNotFoundError(2, "No such file", "there")),
    "KeyError": lambda: {}["missing"],
    "AttributeError": lambda: object().missing,  # type: ignore[attr-defined]
    "TypeError": lambda: len(3),  # type: ignore[arg-type]
    "Unprintable": lambda: _raise(Unprintable()),
    "Ending": lambda: _raise(Ending("the end")),
    "BrokenPipeError": lambda: _raise(BrokenPipeError(32, "Broken pipe")),
    "exit 0": lambda: sys.exit(0),
    "exit text": lambda: sys.exit("good bye"),
    "StopIteration": lambda: _raise(StopIteration()),
    "RecursionError": lambda: _raise(RecursionError("too deep")),
    "MemoryError": lambda: _raise(MemoryError()),
    "UsageError": lambda: _raise(UsageError("a plug-in\nrefuses")),
    "surrogate": lambda: _raise(ValueError("\udcff \x1b[31m")),
    "printing": _print,
    "AssertionError": lambda: _raise(AssertionError()),
    "Warning": lambda: _raise(UserWarning("a warning")),
}
VALUES: Mapping[str, Callable[[], Any]] = {
    "None": lambda: None,
    "number": lambda: 3,
    "nan": lambda: float("nan"),
    "negative": lambda: -1e308,
    "text": lambda: "text",
    "empty dict": lambda: {},
    "dict": lambda: {"cpus": 1},
    "empty tuple": lambda: (),
    "list": lambda: [1, "two", None],
    "object": lambda: object(),
    "class": lambda: int,
    "array": lambda: np.full((2, 2), np.nan),
    "generator": lambda: (x for x in (1, 2)),
}
_calls: dict[str, int] = {}


def _errs(place: str) -> bool:
    _calls[place] = _calls.get(place, -1) + 1
    return place == PLACE and _calls[place] >= TIME


def _act() -> Any:
    return (ERRORS | VALUES)[ACTION]()


class Space(StagewiseSpace):
    """A space of stages."""

    def __init__(self) -> None:
        if _errs("space init"):
            _act()
        self._toy = ToySpace()

    @property
    def template(self) -> Architecture:
        return _act() if _errs("template") else self._toy.template  # type: ignore[no-any-return]

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        return _act() if _errs("stage_decisions") else self._toy.stage_decisions  # type: ignore[no-any-return]

    def stage(self, index: int, choices: Choices) -> Stage:
        return _act() if _errs("stage") else self._toy.stage(index, choices)  # type: ignore[no-any-return]


class Plain(SearchSpace):
    """A space without stages of its own."""

    def __init__(self) -> None:
        if _errs("plain init"):
            _act()
        self._toy = ToySpace()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return _act() if _errs("decisions") else self._toy.decisions  # type: ignore[no-any-return]

    def decode(self, choices: Choices) -> Network:
        return _act() if _errs("decode") else self._toy.decode(choices)  # type: ignore[no-any-return]


class Control(Controller):
    """A controller that draws at random."""

    def __init__(self, problem: Problem) -> None:
        if _errs("controller init"):
            _act()
        self._problem = problem

    def ask(self, rng: np.random.Generator) -> Choices:
        if _errs("ask"):
            return _act()  # type: ignore[no-any-return]
        return {d.name: d.options[rng.integers(len(d.options))] for d in self._problem.decisions}

    def tell(self, trial: Trial) -> None:
        if _errs("tell"):
            _act()

    def resume_ask(self, choices: Choices) -> None:
        if _errs("resume_ask"):
            _act()

    def estimate(self, codes: Codes) -> Any:
        return _act() if _errs("estimate") else None


class Measure(Evaluator):
    """An evaluator with what one may support besides."""

    def __init__(self, *, data: str | None = None) -> None:
        if _errs("evaluator init"):
            _act()

    @property
    def resources(self) -> Resources | None:
        return _act() if _errs("resources") else Resources()

    @property
    def noisy(self) -> bool:
        return _act() if _errs("noisy") else True

    @property
    def label(self) -> str:
        return _act() if _errs("label") else "an accuracy"

    def caveats(self, network: Network) -> tuple[str, ...]:
        return _act() if _errs("caveats") else ("a caveat",)

    def check_space(self, space: SearchSpace) -> None:
        if _errs("check_space"):
            _act()

    def for_space(self, space: SearchSpace) -> Evaluator:
        return _act() if _errs("for_space") else self  # type: ignore[no-any-return]

    def with_test_split(self) -> Evaluator | None:
        return _act() if _errs("with_test_split") else None

    def independent_pair(self) -> tuple[Evaluator, Evaluator] | None:
        return _act() if _errs("independent_pair") else None

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        if _errs("evaluate"):
            return _act()  # type: ignore[no-any-return]
        return self._evaluations(seed)

    def _evaluations(self, seed: int) -> Iterator[Evaluation]:
        yield Evaluation(accuracy=0.4, rung=1)
        if _errs("second rung"):
            yield _act()
        yield Evaluation(accuracy=0.5 + seed % 7 / 100, std=0.01)


def score(architecture: Architecture, seed: int = 0) -> float:
    """Return an accuracy."""
    return _act() if _errs("function") else 0.5 + seed % 7 / 100  # type: ignore[no-any-return]


def data() -> Dataset:
    """Return eight black images."""
    if _errs("data"):
        return _act()  # type: ignore[no-any-return]
    split = Split(images=np.zeros((8, 8, 8, 3), np.uint8), labels=np.arange(8) % 2)
    return Dataset(name="black", num_classes=2, train=split, validation=split, test=split)


class Export(Exporter):
    """An exporter of a text."""

    def __init__(self) -> None:
        if _errs("exporter init"):
            _act()

    def export(self, network: Network, weights: Any, path: Path) -> Any:
        if _errs("export"):
            return _act()
        (path / "text.txt").write_text(network.label)
        return [path / "text.txt"]


if _errs("import"):
    _act()
