"""The library's front door: one search from Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from mnas_search.common import plugins
from mnas_search.experiments.search.options import RunConfig, RunOptions, run_options

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Callback
    from mnas_search.experiments.search.result import Result

# The options that may be Python objects, and what they are.
_GROUPS = {
    "space": "search_spaces",
    "controller": "controllers",
    "evaluator": "evaluators",
    "prior": "evaluators",
    "data": "datasets",
}


def search(
    target_flops: float | str | None = None,
    *,
    output: str | Path | None = None,
    callbacks: "Sequence[Callback]" = (),
    **options: Unpack[RunOptions],
) -> "Result":
    """Search for the best network within a budget: `mnas-search run` from Python.

        result = mnas_search.search("400M", trials=48, seed=0)
        result.architecture

    FLOPs are multiply-adds of convolutions and linear layers at batch 1 and the deployment
    resolution. The reward is ACC(m) * [FLOPS(m) / T]^w (EfficientNet section 4). Quantities are
    numbers in FLOPs, parameters, bytes and seconds, or text with a unit.

    Python objects are accepted where an option names a plug-in: `space` is also a `SearchSpace`
    or its class, `controller` a `Controller` class, `evaluator` an `Evaluator`, its class or a
    function, `data` a path, a `Dataset` or a function that returns one:

        def score(architecture):
            return 1 - 1e6 / mnas_search.cost(architecture).params

        result = mnas_search.search("150M", evaluator=score, trials=20, workers=0)

    Functions and classes travel to the Ray workers by value, those of a notebook too; with
    `workers=0` candidates are evaluated in this process. A run that was given objects is resumed
    by the same call with the same objects and `output`.

    Args:
        target_flops: T.
        output: the run's folder: a new one, or one that holds the same run, which is resumed.
        callbacks: follow the run.
        options: see below; each is an option of `mnas-search run`.

    Returns:
        The result: `best`, `architecture`, `trials`, `pareto`, `family`, `folder`.

    Raises:
        UsageError: an option, or a combination of options, is refused; nothing was written.
        WorkFailed: the search found no winner, or a callback raised an exception.
    """
    from mnas_search.experiments.listener import Callbacks
    from mnas_search.experiments.search.run import start

    with plugins.named({"target_flops": target_flops, **options}, _GROUPS) as named:
        config = RunConfig.parsed(named)
        return start(config, None if output is None else Path(output), Callbacks(callbacks))


_OPTIONS = [f"        {name}: {option.help}" for name, _, _, option in run_options()]
search.__doc__ = "\n".join([search.__doc__ or "", "    Options:", *_OPTIONS])
