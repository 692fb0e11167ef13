"""What each way of scaling takes, and the options' values."""

from typing import TYPE_CHECKING, Any

from mnas_search.cli.logs import notify
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.architecture.scaling import CompoundRule, Rounding
    from mnas_search.architecture.scaling.limits import Limit
    from mnas_search.experiments.scaling.measured import Measuring

# What each way of scaling takes; an option beside another way is refused by name.
RULE = ("alpha", "beta", "gamma")
LIMITS = ("max_flops", "max_params", "max_memory", "batch_size")
TRAINED = (
    "evaluator",
    "data",
    "proxy",
    "seeds",
    "seed",
    "workers",
    "gpus_per_trial",
    "ray_address",
    "output",
)
TAKES = {
    "--family": ("write",),
    "--phi": (*RULE, "divisor", "resolution_divisor", "write"),
    "limits": (*RULE, *LIMITS, "divisor", "resolution_divisor", "write"),
    "--grid-search": (*LIMITS, *TRAINED, "divisor", "resolution_divisor", "step", "tolerance"),
    "--compare": (*RULE, *TRAINED, "divisor", "resolution_divisor", "budgets", "write"),
}


def way_of(
    given: dict[str, Any], *, family: str | None, phi: str | None, grid_search: bool, compare: bool
) -> str:
    """Which way of `TAKES` is asked for; refuses two, and options that it does not take."""
    asked = [
        name
        for name, wanted in (
            ("--family", family is not None),
            ("--phi", phi is not None),
            ("--grid-search", grid_search),
            ("--compare", compare),
        )
        if wanted
    ]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} together; allowed: one of them")
    limited = any(name in given for name in LIMITS)
    way = asked[0] if asked else "limits" if limited else "--family"
    for name in given:
        if name not in TAKES[way]:
            fitting = [w for w, takes in TAKES.items() if name in takes]
            ways = ", ".join("--max-flops and the like" if w == "limits" else w for w in fitting)
            beside = f"with {asked[0]}" if asked else f"without {ways}"
            raise UsageError(f"{option_name(name)} {beside}; allowed: with {ways}")
    if "batch_size" in given and "max_memory" not in given:
        raise UsageError("--batch-size without --max-memory; allowed: with it")
    return way


def option_name(name: str) -> str:
    """As it is typed."""
    return "--" + name.replace("_", "-")


def rule_of(given: dict[str, Any]) -> "CompoundRule":
    """The coefficients asked for, or the paper's; says where equation 3 is not kept."""
    from mnas_search.architecture.scaling import CompoundRule

    rule = CompoundRule(**{name: given[name] for name in RULE if name in given})
    if not 1.8 <= rule.product <= 2.2:
        notify(
            f"note: alpha * beta^2 * gamma^2 is {rule.product:.3g}, not about 2 (equation 3): "
            f"FLOPs grow by about {rule.product:.3g}^phi"
        )
    return rule


def rounding_of(given: dict[str, Any]) -> "Rounding":
    """The multiples asked for."""
    from mnas_search.architecture.scaling import Rounding

    return Rounding(
        channels=given.get("divisor", 8), resolution=given.get("resolution_divisor", 1)
    )


def limits_of(given: dict[str, Any]) -> "list[Limit]":
    """What the network has to keep."""
    from mnas_search.architecture.scaling.limits import limits

    return limits(**{name: given[name] for name in LIMITS if name in given})


def phis_of(text: str) -> list[float]:
    """Numbers from `1.5` or `0..7`."""
    first, dots, last = text.partition("..")
    try:
        if not dots:
            return [float(first)]
        low, high = int(first), int(last)
    except ValueError:
        raise UsageError(f"phi {text!r}; allowed: a number such as 1.5, or 0..7") from None
    if not low <= high <= low + 100:
        raise UsageError(f"phi {text!r}; allowed: from the smaller to the larger, at most 100 on")
    return [float(value) for value in range(low, high + 1)]


def budgets_of(text: str | None) -> list[float]:
    """FLOPs from `0.8G,1.6G`; none for the comparison's own."""
    from mnas_search.common.units import parse_size

    return [] if text is None else [parse_size(part.strip()) for part in text.split(",")]


def measuring_of(given: dict[str, Any]) -> "Measuring":
    """How networks are trained."""
    from mnas_search.experiments.scaling.measured import Measuring

    names = [name for name in TRAINED if name in given and name != "output"]
    return Measuring(**{name: given[name] for name in names})
