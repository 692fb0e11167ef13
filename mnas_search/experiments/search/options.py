"""The options of a run: one list, from which the command line and `mnas_search.search` derive."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, final

from mnas_search.architecture.cost.metrics import TARGETS
from mnas_search.common.checks import plain
from mnas_search.common.units import parse_bytes, parse_duration, parse_latency, parse_size

if TYPE_CHECKING:
    from mnas_search.data.values import Dataset
    from mnas_search.nas.controller import Controller
    from mnas_search.nas.evaluator import Evaluator
    from mnas_search.nas.space.contract import SearchSpace

PLUGIN = "NAME|FILE.py:NAME"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How an option is typed and explained: its help text, a text for its default where that is
    not a plain value, what reads a quantity such as `400M`, and what help shows for the value."""

    help: str
    default: str | None = None
    parse: Callable[[str], float] | None = None
    metavar: str | None = None


def _option(help: str, value: Any = None, **shown: Any) -> Any:
    return field(default=value, metadata={"option": Option(help=help, **shown)})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a run: each field is an option.

    FLOPs are multiply-adds of convolutions and linear layers at batch 1 and the deployment
    resolution. Of several targets, the first in this order is in the reward, and the others are
    limits. None leaves a choice to the run.
    """

    target_flops: float | None = _option(
        "Target T for FLOPs, e.g. 400M, 0.4G or 4e8.", parse=parse_size
    )
    target_latency: float | None = _option(
        "Target T for the latency of a forward pass, e.g. 20ms; an upper limit if given together "
        "with --target-flops.",
        parse=parse_latency,
    )
    target_memory: float | None = _option(
        "Target T for the memory of fp32 inference at batch size 1, e.g. 20M; an upper limit if "
        "given together with another target.",
        parse=parse_bytes,
    )
    device: str | None = _option(
        "Backend on which latency is measured: cpu, compiled, onnxruntime or cuda.",
        default="cpu",
        metavar="NAME",
    )
    latency_table: str | None = _option(
        "Latency table made by `mnas-search latency build`, which predicts latencies.",
        default="a new one, built before the search",
        metavar="FILE",
    )
    max_params: float | None = _option(
        "Upper limit on parameters, e.g. 4M.", default="no limit", parse=parse_size
    )
    max_memory: float | None = _option(
        "Upper limit on the memory of fp32 inference at batch size 1 (weights and the peak of "
        "activations), e.g. 20M or 1.5GB.",
        default="no limit",
        parse=parse_bytes,
    )
    space: str = _option("Search space.", "efficientnet", metavar=PLUGIN)
    controller: str = _option("Search algorithm.", "bayesian", metavar=PLUGIN)
    evaluator: str | None = _option(
        "Evaluator that gives the accuracy of a candidate.",
        default="accel_nasbench, a surrogate fitted to recorded ImageNet runs, if it covers the "
        "space and there is no --data; else proxy_training",
        metavar=PLUGIN,
    )
    data: str | None = _option(
        "Data set on which networks are trained: a folder of images (one subfolder per class), "
        "CIFAR binary files, an .npz file, a data set of the Hugging Face Hub, or the name of an "
        "installed one (`mnas-search list datasets`).",
        default="digits",
        metavar="PATH|NAME|hf:NAME|FILE.py:NAME",
    )
    proxy: str | None = _option(
        "Changes to the recipe of the proxy training, e.g. epochs=10,resolution=16. Names: "
        "epochs, resolution, width, fraction, batch_size, learning_rate, divisor.",
        default="the data set's recipe; with a prior that is trained, twice its epochs",
        metavar="NAME=N,...",
    )
    init: str | None = _option(
        "Pretrained weights that every network starts from, remapped: a file, the folder of a "
        "training, an installed package or a model of the Hugging Face Hub.",
        default="random initialisation",
        metavar="PATH|package:NAME|hf:ORG/NAME",
    )
    lite: bool = _option(
        "Networks with ReLU6 and without squeeze-and-excitation, which lose less accuracy as int8 "
        "(`export --quantize`).",
        False,
        default="as the space has them",
    )
    prior: str | None = _option(
        "Evaluator whose predictions the controller takes as a prior; supernet is trained on "
        "--data first.",
        default="no prior",
        metavar=PLUGIN,
    )
    prior_time: float | None = _option(
        "Time for the training of the prior, e.g. 5m; it is planned once, in steps.",
        default="6m, at most a quarter of --time-budget",
        parse=parse_duration,
    )
    prior_recipe: str | None = _option(
        "Changes to the training of the prior, e.g. members=2,networks=200. Names: members, "
        "steps, networks, and those of the evaluator's recipe.",
        default="as planned from --prior-time",
        metavar="NAME=N,...",
    )
    start_from: tuple[str, ...] = _option(
        "Architecture to evaluate first, or folder of an earlier run to learn from; may be "
        "repeated.",
        (),
        metavar="ARCH|RUN",
    )
    baseline: str | None = _option(
        "Baselines besides the published networks: random, a random search of as many trials; or "
        "none, no comparison: the winner is recommended as it is.",
        default="the published networks",
        metavar="NAME",
    )
    objective: str = _option(
        "Reward: soft, ACC*(FLOPS/T)^w; hard, flat below T; absolute, ACC + b*|FLOPS/T - 1|.",
        "soft",
        metavar="NAME",
    )
    exponent: float | None = _option(
        "Exponent w or factor b of the objective, at most 0.",
        default="soft -0.07, hard -1, absolute -0.10",
    )
    trials: int | None = _option(
        "Number of distinct candidates to evaluate.",
        default="200 if accuracies are predicted, 48 if candidates are trained, 12 with a prior "
        "that is trained",
    )
    early_stopping: str | None = _option(
        "Rule that stops unpromising trainings early: asha. Stopped candidates do not count as "
        "--trials.",
        default="none are stopped",
        metavar="RULE",
    )
    time_budget: float | None = _option(
        "Time for the whole command, e.g. 10m; a search ends in time for the comparison that "
        "follows it, which is left out where it does not fit.",
        default="no limit",
        parse=parse_duration,
    )
    trial_timeout: float | None = _option(
        "Time for one evaluation, e.g. 10m; one that takes longer fails: timed out.",
        default="ten times the longest so far, at least 10m; a day for the first",
        parse=parse_duration,
    )
    workers: int | None = _option(
        "Candidates evaluated in parallel by Ray; 0 evaluates them in this process.",
        default="one per CPU",
    )
    gpus_per_trial: float | None = _option(
        "GPUs per worker, e.g. 0.25.", default="all GPUs, shared equally among the workers"
    )
    ray_address: str | None = _option(
        "Ray cluster to join; local starts a private one on this machine.",
        default="local",
        metavar="ADDRESS",
    )
    seed: int = _option("Seed of all random numbers.", 0)
    resolution: int | None = _option(
        "Input resolution at deployment, in pixels, at which FLOPs are counted.",
        default="the data set's: the median shorter side to a multiple of 32, at most 224; 224 "
        "for digits",
    )
    num_classes: int | None = _option(
        "Number of classes at deployment.", default="the data set's; 1000 for digits"
    )

    def __post_init__(self) -> None:
        from mnas_search.experiments.search.checks import check_options

        options = {one.name: plain(getattr(self, one.name)) for one in fields(self)}
        for name, value in (options | check_options(options)).items():
            object.__setattr__(self, name, value)

    @classmethod
    def parsed(cls, options: Mapping[str, Any]) -> Self:
        """Return a configuration from Python values, in which quantities may be text: "400M"."""
        parsers = {name: option.parse for name, _, _, option in run_options()}
        return cls(**{name: _value(value, parsers.get(name)) for name, value in options.items()})

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
    space: "str | SearchSpace | type[SearchSpace]"
    controller: "str | type[Controller]"
    evaluator: "str | Evaluator | type[Evaluator] | Callable[..., float] | None"
    data: "str | Path | Dataset | Callable[[], Dataset] | None"
    proxy: str | None
    init: str | Path | None
    lite: bool
    prior: "str | Evaluator | type[Evaluator] | None"
    prior_time: float | str | None
    prior_recipe: str | None
    start_from: "str | Path | Sequence[str | Path]"
    baseline: str | None
    objective: str
    exponent: float | None
    trials: int | None
    early_stopping: str | None
    time_budget: float | str | None
    trial_timeout: float | str | None
    workers: int | None
    gpus_per_trial: float | None
    ray_address: str | None
    seed: int
    resolution: int | None
    num_classes: int | None


def run_options() -> Iterator[tuple[str, Any, Any, Option]]:
    """Yield name, type, default and explanation of every option."""
    for one in fields(RunConfig):
        yield one.name, one.type, one.default, one.metadata["option"]


def _value(value: Any, parse: Callable[[str], float] | None) -> Any:
    if parse is not None and value is not None:
        return parse(value) if isinstance(value, str) else float(value)
    return value
