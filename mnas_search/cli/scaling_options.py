"""Which options each mode of `scale` accepts, and their values."""

from typing import TYPE_CHECKING, Any

from mnas_search.cli.logs import notify
from mnas_search.common.errors import UsageError

if TYPE_CHECKING:
    from mnas_search.architecture.scaling import CompoundRule, Rounding
    from mnas_search.architecture.scaling.limits import Limit
    from mnas_search.experiments.scaling.measured import Measuring

# The options of each mode; others are refused by name.
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
    """Return the mode (a key of `TAKES`); refuses two modes, and options of other modes."""
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
        raise UsageError(f"{asked[0]} and {asked[1]} exclude each other")
    limited = any(name in given for name in LIMITS)
    way = asked[0] if asked else "limits" if limited else "--family"
    for name in given:
        if name not in TAKES[way]:
            fitting = [w for w, takes in TAKES.items() if name in takes]
            ways = " or ".join(fitting).replace("limits", "limits (--max-flops, ...)")
            got = f", got {asked[0]}" if asked else ""
            raise UsageError(f"{option_name(name)} requires {ways}{got}")
    if "batch_size" in given and "max_memory" not in given:
        raise UsageError("--batch-size requires --max-memory")
    return way


def option_name(name: str) -> str:
    """Return an option as users type it."""
    return "--" + name.replace("_", "-")


def rule_of(given: dict[str, Any]) -> "CompoundRule":
    """Return the given coefficients, or the paper's; notes a violation of equation 3."""
    from mnas_search.architecture.scaling import CompoundRule

    rule = CompoundRule(**{name: given[name] for name in RULE if name in given})
    if not 1.8 <= rule.product <= 2.2:
        notify(
            f"note: alpha * beta^2 * gamma^2 is {rule.product:.3g}, not about 2 (equation 3): "
            f"FLOPs grow by about {rule.product:.3g}^phi"
        )
    return rule


def rounding_of(given: dict[str, Any]) -> "Rounding":
    """Return the given divisors."""
    from mnas_search.architecture.scaling import Rounding

    return Rounding(
        channels=given.get("divisor", 8), resolution=given.get("resolution_divisor", 1)
    )


def limits_of(given: dict[str, Any]) -> "list[Limit]":
    """Return the limits on the network."""
    from mnas_search.architecture.scaling.limits import limits

    return limits(**{name: given[name] for name in LIMITS if name in given})


def phis_of(text: str) -> list[float]:
    """Return the numbers of `1.5` or `0..7`."""
    first, dots, last = text.partition("..")
    try:
        if not dots:
            return [float(first)]
        low, high = int(first), int(last)
    except ValueError:
        raise UsageError(f"--phi must be a number or a range such as 0..7, got {text!r}") from None
    if not low <= high <= low + 100:
        raise UsageError(f"--phi must be an ascending range of at most 100 steps, got {text!r}")
    return [float(value) for value in range(low, high + 1)]


def budgets_of(text: str | None) -> list[float]:
    """Return the FLOPs of `0.8G,1.6G`; empty for the default budgets."""
    from mnas_search.common.units import parse_size

    return [] if text is None else [parse_size(part.strip()) for part in text.split(",")]


def measuring_of(given: dict[str, Any]) -> "Measuring":
    """Return how networks are trained."""
    from mnas_search.experiments.scaling.measured import Measuring

    names = [name for name in TRAINED if name in given and name != "output"]
    return Measuring(**{name: given[name] for name in names})
