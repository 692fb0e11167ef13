"""The library's front door: one search from Python."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnas_search.common.units import parse_bytes, parse_duration, parse_latency, parse_size

if TYPE_CHECKING:
    from mnas_search.experiments.listener import Listener
    from mnas_search.experiments.search.result import Result


def search(
    target_flops: float | str | None = None,
    *,
    target_latency: float | str | None = None,
    target_memory: float | str | None = None,
    max_params: float | str | None = None,
    max_memory: float | str | None = None,
    device: str | None = None,
    latency_table: str | Path | None = None,
    space: str = "efficientnet",
    controller: str = "bayesian",
    evaluator: str | None = None,
    data: str | None = None,
    proxy: str | None = None,
    prior: str | None = None,
    start_from: Sequence[str] = (),
    baseline: str | None = None,
    objective: str = "soft",
    exponent: float | None = None,
    trials: int | None = None,
    early_stopping: str | None = None,
    time_budget: float | str | None = None,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    ray_address: str | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    resolution: int = 224,
    num_classes: int | None = None,
    listener: "Listener | None" = None,
) -> "Result":
    """Search for the best network within a budget; `mnas-search run` from Python.

    FLOPs are multiply-adds of convolutions and linear layers at batch 1 and the deployment
    resolution. The reward is ACC(m) * [FLOPS(m) / T]^w (EfficientNet section 4).

    Args:
        target_flops: T; a number, or text such as "400M".
        target_latency: T in seconds, or text with its unit such as "20ms"; instead of
            target_flops, or as a limit beside it.
        target_memory: T in bytes of fp32 inference at batch 1, or text such as "20M"; the same.
        max_params: the most parameters of the winner, in the same way; None for no limit.
        max_memory: the most bytes of its fp32 inference at batch 1, weights and the peak of
            activations; a number, or text such as "20M" or "1.5GB".
        device: what latency is of: "cpu", "compiled", "onnxruntime" or "cuda".
        latency_table: file of `mnas-search latency build`; None has one built first.
        space, controller, evaluator: names of plug-ins (`mnas-search list`), or "file.py:Name".
            Without evaluator and data, the search goes by recorded ImageNet trainings.
        data: what the evaluator trains on: a name, a path, "hf:NAME" or "file.py:Name"; None for
            its own default.
        proxy: what to change in the recipe of proxies, such as "epochs=10,resolution=16".
        prior: an evaluator whose predictions the controller starts from.
        start_from: architectures to try first, and folders of earlier runs to learn from.
        baseline: "random" for a random search with as many trials, to compare with.
        objective: "soft", "hard" or "absolute"; `exponent` is its exponent.
        trials: distinct networks to evaluate; None for 200 predicted or 48 trained ones.
        early_stopping: "asha" gives up trainings that do not look promising; those do not count
            as trials.
        time_budget: seconds, or text such as "10m".
        workers: evaluations at a time over Ray; 0 for this process; None for one a CPU.
        gpus_per_trial, ray_address: see `mnas_search.experiments.search.config.RunConfig`.
        output: the run's folder, made new, or one that holds the same run, which then goes on.
        resolution, num_classes: of the deployed network.
        listener: follows the run.

    Returns:
        The result: `best`, `architecture`, `trials`, `pareto`, `family`, `folder`.

    Raises:
        UsageError: something asked for cannot be; nothing was written.
        WorkFailed: the search gave no winner.
    """
    from mnas_search.experiments.search.config import RunConfig
    from mnas_search.experiments.search.run import start

    config = RunConfig(
        target_flops=_number(target_flops, parse_size),
        target_latency=_number(target_latency, parse_latency),
        target_memory=_number(target_memory, parse_bytes),
        max_params=_number(max_params, parse_size),
        max_memory=_number(max_memory, parse_bytes),
        device=device,
        latency_table=None if latency_table is None else str(latency_table),
        space=space,
        controller=controller,
        evaluator=evaluator,
        data=data,
        proxy=proxy,
        prior=prior,
        start_from=tuple(start_from),
        baseline=baseline,
        objective=objective,
        exponent=exponent,
        trials=trials,
        early_stopping=early_stopping,
        time_budget=_number(time_budget, parse_duration),
        workers=workers,
        gpus_per_trial=gpus_per_trial,
        ray_address=ray_address,
        seed=seed,
        resolution=resolution,
        num_classes=num_classes,
    )
    return start(config, None if output is None else Path(output), listener)


def _number(value: float | str | None, parse: Callable[[str], float]) -> float | None:
    if value is None:
        return None
    return parse(value) if isinstance(value, str) else float(value)
