"""The options of a run: one list, from which the command line and `mnas_search.search` derive."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypedDict, final

from mnas_search.architecture.cost.metrics import TARGETS
from mnas_search.common.units import parse_bytes, parse_duration, parse_latency, parse_size

_PROXY = (
    "changes in how candidates are trained, such as epochs=10,resolution=16: epochs, resolution, "
    "width, fraction, batch_size, learning_rate, divisor"
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How an option is typed and explained.

    Attributes:
        help: one sentence, with `[default: ...]` where the default is not a plain value.
        parse: reads a quantity such as `400M` from text; None for plain values.
        metavar: stands for the value in help texts.
    """

    help: str
    parse: Callable[[str], float] | None = None
    metavar: str | None = None


def _option(
    help: str,
    *,
    default: Any = None,
    parse: Callable[[str], float] | None = None,
    metavar: str | None = None,
) -> Any:
    option = Option(help=help, parse=parse, metavar=metavar)
    return field(default=default, metadata={"option": option})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a run: each field is an option.

    FLOPs are multiply-adds of convolutions and linear layers at batch 1 and the deployment
    resolution. Of several targets, the first in this order is in the reward, and the others are
    limits. None leaves a choice to the run.
    """

    target_flops: float | None = _option("target FLOPs, such as 400M or 0.4G", parse=parse_size)
    target_latency: float | None = _option(
        "target latency of one forward pass, such as 20ms; beside --target-flops, a limit",
        parse=parse_latency,
    )
    target_memory: float | None = _option(
        "target memory of fp32 inference at batch 1, such as 20M; beside another target, a limit",
        parse=parse_bytes,
    )
    device: str | None = _option(
        "the backend on which latency is measured: cpu, compiled, onnxruntime or cuda "
        "[default: the latency table's, or cpu]"
    )
    latency_table: str | None = _option(
        "the file of `mnas-search latency build` that predicts latencies "
        "[default: a table is built first]",
        metavar="FILE",
    )
    max_params: float | None = _option(
        "maximum number of parameters, such as 4M [default: no limit]", parse=parse_size
    )
    max_memory: float | None = _option(
        "maximum bytes of fp32 inference at batch 1 (weights and peak of the activations), such "
        "as 20M or 1.5GB [default: no limit]",
        parse=parse_bytes,
    )
    space: str = _option("search space: a name, or file.py:Name", default="efficientnet")
    controller: str = _option("controller: a name, or file.py:Name", default="bayesian")
    evaluator: str | None = _option(
        "evaluator: a name, or file.py:Name [default: accel_nasbench, recorded ImageNet "
        "trainings, where they cover the space and there is no --data; else proxy_training]"
    )
    data: str | None = _option(
        "what networks are trained on: a folder of images (one folder a class), CIFAR's binary "
        "files, an .npz file, hf:NAME, a name, or file.py:Name [default: digits]"
    )
    proxy: str | None = _option(_PROXY, metavar="NAME=N,...")
    prior: str | None = _option("an evaluator whose predictions the controller starts from")
    start_from: tuple[str, ...] = _option(
        "an architecture to try first, or an earlier run to learn from; may be repeated",
        default=(),
        metavar="ARCH|RUN",
    )
    baseline: str | None = _option(
        "beside the fixed baselines, compare with a random search of as many trials",
        metavar="random",
    )
    objective: str = _option(
        "soft: ACC*(FLOPS/T)^w; hard: flat below T; absolute: ACC + b*|FLOPS/T - 1|",
        default="soft",
    )
    exponent: float | None = _option(
        "w or b, never positive [default: -0.07, -1 or -0.10, by objective]"
    )
    trials: int | None = _option(
        "number of distinct candidates [default: 200 where they are predicted, else 48]"
    )
    early_stopping: str | None = _option(
        "asha: stop trainings that do not look promising; those do not count as --trials",
        metavar="RULE",
    )
    time_budget: float | None = _option(
        "time after which no candidate is begun, such as 10m, over all sessions",
        parse=parse_duration,
    )
    workers: int | None = _option(
        "number of concurrent evaluations over Ray; 0 evaluates in this process "
        "[default: one a CPU]"
    )
    gpus_per_trial: float | None = _option(
        "GPUs of a worker, such as 0.25 [default: an equal share]"
    )
    ray_address: str | None = _option("a Ray cluster to join [default: a private local one]")
    seed: int = _option("seed of everything random", default=0)
    resolution: int = _option("input resolution at deployment", default=224)
    num_classes: int | None = _option(
        "number of classes at deployment [default: the data's; 1000 for digits]"
    )

    def __post_init__(self) -> None:
        from mnas_search.experiments.search.checks import check_options

        for name, value in check_options(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def parsed(cls, options: Mapping[str, Any]) -> Self:
        """Return a configuration from Python values, in which quantities may be text: "400M"."""
        return cls(**{name: _value(name, value) for name, value in options.items()})

    @property
    def targets(self) -> dict[str, float]:
        """The given targets by metric; the first one is the reward's."""
        given = {name: getattr(self, f"target_{name}") for name in TARGETS}
        return {name: target for name, target in given.items() if target is not None}


class RunOptions(TypedDict, total=False):
    """The options of `RunConfig` as `mnas_search.search` takes them, `target_flops` apart."""

    target_latency: float | str | None
    target_memory: float | str | None
    device: str | None
    latency_table: str | Path | None
    max_params: float | str | None
    max_memory: float | str | None
    space: str
    controller: str
    evaluator: str | None
    data: str | None
    proxy: str | None
    prior: str | None
    start_from: Sequence[str]
    baseline: str | None
    objective: str
    exponent: float | None
    trials: int | None
    early_stopping: str | None
    time_budget: float | str | None
    workers: int | None
    gpus_per_trial: float | None
    ray_address: str | None
    seed: int
    resolution: int
    num_classes: int | None


def run_options() -> Iterator[tuple[str, Any, Any, Option]]:
    """Give name, type, default and explanation of every option."""
    for one in fields(RunConfig):
        default = None if one.default is MISSING else one.default
        yield one.name, one.type, default, one.metadata["option"]


_PARSERS = {name: option.parse for name, _, _, option in run_options()}


def _value(name: str, value: Any) -> Any:
    parse = _PARSERS.get(name)
    if isinstance(value, Path):
        return str(value)
    if parse is not None and value is not None:
        return parse(value) if isinstance(value, str) else float(value)
    return value
