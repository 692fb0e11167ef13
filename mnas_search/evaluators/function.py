"""A plain function `architecture -> accuracy` as an evaluator."""

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, final

from mnas_search.architecture.traced_network import Network
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.nas.evaluator import Evaluator, Profiler, Resources, check_evaluator
from mnas_search.nas.trial import Evaluation


@final
class FunctionEvaluator(Evaluator):
    """Calls `function(network)`, or `function(network, seed=...)` where it takes a seed.

    Args:
        function: returns the accuracy as a fraction in [0, 1]. Its attribute `resources`, where it
            has one, says what a call occupies; None there runs it in process. Without it, a call
            occupies one CPU.
    """

    def __init__(self, function: Callable[..., float]) -> None:
        self._function = function
        self._seeded = "seed" in plugins.parameters(function)

    @property
    def noisy(self) -> bool:
        """Whether another seed could give another accuracy."""
        return self._seeded

    @property
    def resources(self) -> Resources | None:
        """What the function says, else one CPU."""
        resources: Resources | None = getattr(self._function, "resources", Resources())
        return resources

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        seeds = {"seed": seed} if self._seeded else {}
        yield Evaluation(accuracy=float(self._function(network, **seeds)))


def as_evaluator(
    target: Any,
    *,
    data: str | None,
    proxy: str | None = None,
    init: object = None,
    deployment: int | None = None,
    enlargement: float = 1.0,
) -> Evaluator:
    """Return an evaluator made from what a plug-in name stands for.

    An `Evaluator` is taken as it is, with data of its own; a subclass is constructed with
    `data=`, and with `proxy=` where that is given, as with `init=`, a `Pretrained` network to
    start from, and with the resolution of `deployment=` and the `enlargement=` of networks scaled
    from it where it takes them; any other callable is a function of the architecture.
    """
    options = {"data": data, "proxy": proxy, "init": init}
    if isinstance(target, Evaluator):
        _refuse(f"the instance {type(target).__name__}", options)
        return check_evaluator(target)
    if isinstance(target, Profiler) or (isinstance(target, type) and issubclass(target, Profiler)):
        raise UsageError(
            f"evaluator must measure accuracy, got {target!r} (--target-latency bounds latency, "
            "`mnas-search evaluate` measures it)"
        )
    if isinstance(target, type) and issubclass(target, Evaluator):
        accepted = plugins.parameters(target)
        _refuse(target.__name__, options, accepted)
        given: dict[str, Any] = {"data": data} if "data" in accepted else {}
        given |= {n: v for n, v in (("proxy", proxy), ("init", init)) if v is not None}
        if deployment is not None and "deployment" in accepted:
            given["deployment"] = deployment
        if enlargement > 1 and "enlargement" in accepted:
            given["enlargement"] = enlargement
        evaluator: Evaluator = plugins.make(target, target.__name__, **given)
        return check_evaluator(evaluator)
    if not callable(target):
        raise UsageError(f"evaluator must be an Evaluator or a function, got {target!r}")
    _refuse("a function", options)
    return check_evaluator(FunctionEvaluator(target))


def _refuse(what: str, options: Mapping[str, object], accepted: Container[str] = ()) -> None:
    """Raise `UsageError` for options that an evaluator does not take."""
    for name, value in options.items():
        if value is not None and name not in accepted:
            raise UsageError(
                f"{name} {value!r} requires an evaluator that takes {name}, got {what}"
            )
