"""What a run is asked for, and the same with every name resolved and checked."""

import hashlib
import inspect
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mnas_search import plugins
from mnas_search.cost import CONVENTION
from mnas_search.errors import UsageError
from mnas_search.evaluators.function import as_evaluator
from mnas_search.interfaces import Controller, Evaluator, Problem, SearchSpace
from mnas_search.objective import Objective
from mnas_search.space_cost import Range, space_cost
from mnas_search.units import format_size

DEFAULT_EVALUATOR = "proxy_training"
DEFAULT_DATA = "digits"
_NAMES = ("space", "controller", "evaluator", "data")  # of plug-ins


def cpu_count() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        target_flops: T, in multiply-adds at the deployment resolution.
        space, controller, evaluator: names of plug-ins, or `file.py:Name`.
        data: what the evaluator trains on; None for its own default.
        objective, exponent: see `mnas_search.objective`.
        trials: distinct networks to finish.
        time_budget: seconds after which nothing more is asked, over all sessions; None for no end.
        workers: evaluations at a time, over Ray; 0 evaluates in this process.
        gpus_per_trial: GPUs a worker takes; None for the evaluator's own wish.
        ray_address: of a cluster to join; None for a private Ray on this machine.
        seed: of everything random.
        resolution, num_classes: of the deployed network.
    """

    target_flops: float
    space: str = "efficientnet"
    controller: str = "tpe"
    evaluator: str = DEFAULT_EVALUATOR
    data: str | None = None
    objective: str = "soft"
    exponent: float | None = None
    trials: int = 48
    time_budget: float | None = None
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    seed: int = 0
    resolution: int = 224
    num_classes: int | None = None

    def __post_init__(self) -> None:
        whole = {"trials": 1, "workers": 0, "seed": 0, "resolution": 1, "num_classes": 1}
        for name, low in whole.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < low):
                raise UsageError(f"{name} is {value!r}; allowed: a whole number from {low}")
        for name in ("time_budget", "gpus_per_trial"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is {value!r}; allowed: a number from 0")
        for name in _NAMES:
            # One spelling a file, wherever the run is resumed from.
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{name} is {value!r}; allowed: a name, or 'file.py:Name'")
            if value is not None and plugins.is_file_reference(value):
                path, _, attribute = value.rpartition(":")
                object.__setattr__(self, name, f"{Path(path).resolve()}:{attribute}")


class Setup:
    """A configuration with all its names resolved and checked."""

    def __init__(self, config: RunConfig) -> None:
        evaluator = plugins.load("evaluators", config.evaluator)
        self.evaluator: Evaluator = as_evaluator(evaluator, data=config.data)
        if config.num_classes is None:
            config = replace(config, num_classes=_classes(config, self.evaluator))
        if config.workers is None:
            config = replace(config, workers=cpu_count() if self.evaluator.resources else 0)
        self.space = make_space(config)
        self.objective = Objective(
            target=config.target_flops, kind=config.objective, exponent=config.exponent
        )
        self.config = replace(config, exponent=self.objective.exponent)
        names = [decision.name for decision in self.space.decisions]
        if len(set(names)) < len(names) or not names:
            raise UsageError(
                f"space {config.space!r} has decisions {', '.join(names) or 'none'}; allowed: at "
                "least one, all with different names"
            )
        counter = space_cost(self.space)
        self._check_reachable(counter.reachable)
        self.problem = Problem(
            decisions=self.space.decisions, objective=self.objective, cost=counter
        )
        controller = plugins.load("controllers", config.controller)
        if not (isinstance(controller, type) and issubclass(controller, Controller)):
            raise UsageError(f"controller {config.controller!r}; allowed: a Controller class")
        self._controller: type[Controller] = controller

    def controller(self) -> Controller:
        """A controller that knows nothing yet."""
        made: Controller = plugins.make(
            self._controller, self.config.controller, problem=self.problem
        )
        return made

    def _check_reachable(self, reachable: Range | None) -> None:
        target = self.objective.target
        if reachable is not None and target < reachable.low:
            raise UsageError(
                f"target {format_size(target)} FLOPs cannot be reached; allowed: space "
                f"{self.config.space!r} goes from {format_size(reachable.low)} to "
                f"{format_size(reachable.high)} ({CONVENTION})"
            )

    @property
    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json holds it, with the content of the user's own files."""
        recorded = asdict(self.config)
        for name in _NAMES:
            value = recorded[name]
            if value is not None and plugins.is_file_reference(value):
                content = Path(value.rpartition(":")[0]).read_bytes()
                recorded[f"{name}_sha256"] = hashlib.sha256(content).hexdigest()
        return recorded


def _classes(config: RunConfig, evaluator: Evaluator) -> int:
    """The user's own data says how many classes are deployed; the embedded digits do not."""
    if config.data in (None, DEFAULT_DATA):
        return 1000
    classes = getattr(evaluator, "num_classes", None)
    return classes if isinstance(classes, int) else 1000


def make_space(config: RunConfig) -> SearchSpace:
    """The search space of a configuration."""
    target = plugins.load("search_spaces", config.space)
    if isinstance(target, SearchSpace):
        return target
    if not (isinstance(target, type) and issubclass(target, SearchSpace)):
        raise UsageError(f"space {config.space!r}; allowed: a SearchSpace class")
    accepted = inspect.signature(target).parameters
    given = {"resolution": config.resolution, "num_classes": config.num_classes}
    defaults = {"resolution": 224, "num_classes": 1000}
    for name, value in given.items():
        if name not in accepted and value != defaults[name]:
            raise UsageError(
                f"{name} {value} with space {config.space!r}; allowed: none, the space fixes it"
            )
    fitting = {name: value for name, value in given.items() if name in accepted}
    space: SearchSpace = plugins.make(target, config.space, **fitting)
    return space
