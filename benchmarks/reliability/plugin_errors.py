"""Plug-ins that err in one place, and the commands that call them."""

from pathlib import Path

import numpy as np

from mnas_search.benchmarks.reliability import erring
from mnas_search.benchmarks.reliability.subject import NETWORK

SOURCE = Path(erring.__file__).read_text(encoding="utf-8")
_DEFAULT = 'PLACE, TIME, ACTION = "nowhere", 0, "ValueError"'
_SPACE = ("space init", "template", "stage_decisions", "stage")
_PLAIN = ("plain init", "decisions", "decode")
_CONTROLLER = ("controller init", "ask", "tell", "resume_ask", "estimate")
_EVALUATOR = (
    *("evaluator init", "resources", "noisy", "label", "caveats", "check_space", "for_space"),
    *("with_test_split", "independent_pair", "evaluate", "second rung"),
)
_PLACES = (*_SPACE, *_PLAIN, *_CONTROLLER, *_EVALUATOR, "function", "data", "export")
_ALL = (*_PLACES, "exporter init", "import")


def draw(rng: np.random.Generator, samples: Path, place: Path) -> list[object]:
    """Write a plug-in that errs, and return a command that uses it."""
    where = _ALL[rng.integers(len(_ALL))]
    actions = list(erring.ERRORS) if rng.random() < 0.6 else list(erring.VALUES)
    action, time = actions[rng.integers(len(actions))], int(rng.integers(4)) * rng.integers(2)
    assert _DEFAULT in SOURCE
    own = f'PLACE, TIME, ACTION = "{where}", {time}, "{action}"'
    file = place / f"plugin{rng.integers(10**9)}.py"
    file.write_text(SOURCE.replace(_DEFAULT, own), encoding="utf-8")
    form = ["--format", "json"] if rng.random() < 0.5 else []
    if where in ("export", "exporter init"):
        return ["export", "mnasnet_a1", "--to", f"{file}:Export", "-o", place / "out"]
    if where == "data" and rng.random() < 0.5:
        words = ["train", NETWORK, "--epochs", 1, "--resolution", 16, "--data", f"{file}:data"]
        return [*words, "--output", place / "training", *form]
    if where in ("function", "evaluate", "second rung", "evaluator init") and rng.random() < 0.3:
        name = "score" if where == "function" else "Measure"
        return ["evaluate", "mnasnet_a1", "--evaluator", f"{file}:{name}", *form]
    space = "Plain" if where in _PLAIN else "Space"
    evaluator = "Measure" if where in (*_EVALUATOR, "data") else "score"
    words = [
        *("run", "--target-flops", "2M", "--space", f"{file}:{space}"),
        *("--controller", f"{file}:Control", "--evaluator", f"{file}:{evaluator}"),
        *("--trials", 3, "--workers", 0, "--output", place / "run"),
    ]
    if where == "data":
        words += ["--data", f"{file}:data"]
    return words + form
