"""The library's front door: one search from Python."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from mnas_search.experiments.search.options import RunConfig, RunOptions, run_options

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Listener
    from mnas_search.experiments.search.result import Result


def search(
    target_flops: float | str | None = None,
    *,
    output: str | Path | None = None,
    listener: "Listener | None" = None,
    **options: Unpack[RunOptions],
) -> "Result":
    """Search for the best network within a budget: `mnas-search run` from Python.

        result = mnas_search.search("400M", trials=48, seed=0)
        result.architecture

    FLOPs are multiply-adds of convolutions and linear layers at batch 1 and the deployment
    resolution. The reward is ACC(m) * [FLOPS(m) / T]^w (EfficientNet section 4). Quantities are
    numbers in FLOPs, parameters, bytes and seconds, or text with a unit.

    Args:
        target_flops: T.
        output: the run's folder: a new one, or one that holds the same run, which is resumed.
        listener: follows the run.
        options: see below; each is an option of `mnas-search run`.

    Returns:
        The result: `best`, `architecture`, `trials`, `pareto`, `family`, `folder`.

    Raises:
        UsageError: an option, or a combination of options, is refused; nothing was written.
        WorkFailed: the search found no winner.
    """
    from mnas_search.experiments.search.run import start

    config = RunConfig.parsed({"target_flops": target_flops, **options})
    return start(config, None if output is None else Path(output), listener)


_OPTIONS = [f"        {name}: {option.help}" for name, _, _, option in run_options()]
search.__doc__ = "\n".join([search.__doc__ or "", "    Options:", *_OPTIONS])
