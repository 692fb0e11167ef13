"""The modes of `scale`: the options that each one accepts, what it computes and prints."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnas_search.architecture.cost.base import TABLE_CONVENTION
from mnas_search.architecture.scaling import CompoundRule, Rounding, compound, published_family
from mnas_search.architecture.scaling.limits import Limit, largest_member, limits
from mnas_search.architecture.value import Architecture
from mnas_search.cli.console import followed
from mnas_search.cli.logs import notify
from mnas_search.cli.options import print_json
from mnas_search.common.errors import UsageError
from mnas_search.common.render.output import echo
from mnas_search.common.render.tables import console
from mnas_search.common.units import parse_size
from mnas_search.experiments.experiment import ExperimentKind
from mnas_search.experiments.scaling import families, report
from mnas_search.experiments.scaling.comparison import comparison
from mnas_search.experiments.scaling.grid import GridConfig, candidates, choose
from mnas_search.experiments.scaling.measured import (
    COMPARE,
    GRID_SEARCH,
    MeasuredAccuracies,
    Measuring,
    measure,
)

_RESUME = "the same command and --output"

# The options of each mode; others are refused by name.
_RULE = ("alpha", "beta", "gamma")
_ROUNDING = ("divisor", "resolution_divisor")
_LIMITS = ("max_flops", "max_params", "max_memory", "batch_size")
_WORKERS = ("workers", "gpus_per_trial", "ray_address")
_MEASURING = ("evaluator", "data", "proxy", "seeds", "seed", *_WORKERS)
_TRAINED = (*_MEASURING, "output")
_GRID = ("step", "tolerance")
_ACCEPTED = {
    "family": ("write",),
    "phi": (*_RULE, *_ROUNDING, "write"),
    "limits": (*_RULE, *_LIMITS, *_ROUNDING, "write"),
    "grid_search": (*_LIMITS, *_TRAINED, *_ROUNDING, *_GRID),
    "compare": (*_RULE, *_TRAINED, *_ROUNDING, "budgets", "write"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a call of `scale` asks for: the architecture as typed and as resolved, the options that
    were given, by name."""

    name: str
    base: Architecture
    given: dict[str, Any]
    rule: CompoundRule
    rounding: Rounding
    form: str

    @property
    def limits(self) -> list[Limit]:
        """The limits on the networks."""
        return limits(**_pick(self.given, _LIMITS))

    @property
    def measuring(self) -> Measuring:
        """How networks are trained."""
        return Measuring(**_pick(self.given, _MEASURING))


def _pick(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _option(name: str) -> str:
    """Return an option as users type it."""
    return "--" + name.replace("_", "-")


def mode_of(given: dict[str, Any]) -> str:
    """Return the mode; raise `UsageError` for two modes, and for options of other modes."""
    asked = [mode for mode in _ACCEPTED if mode in given]
    if len(asked) > 1:
        raise UsageError(f"{_option(asked[0])} and {_option(asked[1])} exclude each other")
    limited = any(name in given for name in _LIMITS)
    mode = asked[0] if asked else "limits" if limited else "family"
    for name in given:
        if name not in (mode, *_ACCEPTED[mode]):
            modes = [mode for mode, names in _ACCEPTED.items() if name in names]
            wanted = " or ".join(map(_option, modes))
            wanted = wanted.replace("--limits", "limits (--max-flops, ...)")
            got = f", got {_option(asked[0])}" if asked else ""
            raise UsageError(f"{_option(name)} requires {wanted}{got}")
    if "batch_size" in given and "max_memory" not in given:
        raise UsageError("--batch-size requires --max-memory")
    return mode


def request_of(name: str, base: Architecture, given: dict[str, Any], form: str) -> Request:
    """Return the request, with a note where its coefficients violate equation 3."""
    rule = CompoundRule(**_pick(given, _RULE))
    if not 1.8 <= rule.product <= 2.2:
        notify(
            f"note: alpha * beta^2 * gamma^2 is {rule.product:.3g}, not about 2 (equation 3): "
            f"FLOPs grow by about {rule.product:.3g}^phi"
        )
    rounding = Rounding(
        channels=given.get("divisor", 8), resolution=given.get("resolution_divisor", 1)
    )
    return Request(name=name, base=base, given=given, rule=rule, rounding=rounding, form=form)


# -- the modes: each prints its result and returns its networks ---------------------------------


def _family(request: Request) -> list[Architecture]:
    base = request.base
    members = published_family(base, families.member_names(request.name, base))
    rows = families.published_rows(base, members)
    tables = {"published coefficients of B0 to B7 (no alpha^phi for any phi)": rows}
    if "family" not in request.given:
        title = "equation 3, alpha 1.2, beta 1.1, gamma 1.15; phi = 0 is the base, in the paper B0"
        phis = [float(phi) for phi in range(len(rows))]
        tables[title] = families.compound_rows(base, {phi: compound(base, phi) for phi in phis})
    _print_members(request, rows, tables)
    return list(members)


def _phi(request: Request) -> list[Architecture]:
    members = {
        phi: compound(request.base, phi, request.rule, request.rounding)
        for phi in _parse_phis(request.given["phi"])
    }
    _print_members(request, families.compound_rows(request.base, members))
    return list(members.values())


def _parse_phis(text: str) -> list[float]:
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


def _largest(request: Request) -> list[Architecture]:
    fitted = largest_member(request.base, request.limits, request.rule, request.rounding)
    row = families.fitted_row(request.base, fitted, request.limits)
    _print_members(request, [row])
    if request.form != "json":
        echo(families.describe_fit(row))
    return [fitted.member]


def _print_members(
    request: Request, rows: list[families.Row], tables: dict[str, list[families.Row]] | None = None
) -> None:
    """Print rows as JSON, or tables by title, by default the rows without one."""
    if request.form == "json":
        print_json(rows)
        return
    for title, table in (tables or {"": rows}).items():
        families.print_family(table, title or None)
    console().print(TABLE_CONVENTION)


def _grid_search(request: Request) -> list[Architecture]:
    config = GridConfig(**_pick(request.given, _GRID))
    tried, dropped = candidates(request.base, config, request.limits, request.rounding)
    options = asdict(config) | {name: request.given.get(name) for name in _LIMITS}
    folder, scores = _measure(GRID_SEARCH, request, [one.network for one in tried], options)
    choice = choose(tried, scores)
    demonstration = request.measuring.embedded
    words = [*report.grid_words(choice, demonstration=demonstration), *scores.notes]
    if dropped:
        words.append(f"{dropped} triples broke a limit and were not trained")
    record = report.grid_record(choice, folder, dropped, words)
    report.write_grid(record, choice, folder)
    if request.form == "json":
        print_json(record)
    else:
        report.print_grid(record)
    return []


def _compare(request: Request) -> list[Architecture]:
    given, rule = request.given, request.rule
    texts = given["budgets"].split(",") if "budgets" in given else []
    budgets = [parse_size(text.strip()) for text in texts]
    scaled = comparison(request.base, budgets, rule, request.rounding)
    networks = [request.base, *(one.network for one in scaled)]
    folder, scores = None, None
    if "data" in given or "evaluator" in given:
        budgets = sorted({one.budget for one in scaled})
        options = {"budgets": budgets, "rule": [rule.alpha, rule.beta, rule.gamma]}
        folder, scores = _measure(COMPARE, request, networks, options)
    elif trained := [name for name in given if name in _TRAINED]:
        raise UsageError(f"{_option(trained[0])} with --compare requires --data or --evaluator")
    rows = report.comparison_rows(request.base, scaled, scores)
    if folder is not None:
        report.write_comparison(rows, folder)
    if request.form == "json":
        print_json(rows)
        return networks
    report.print_comparison(rows)
    for note in () if scores is None else scores.notes:
        echo(note)
    return networks


def _measure(
    kind: ExperimentKind, request: Request, networks: list[Architecture], options: dict[str, Any]
) -> tuple[Path, MeasuredAccuracies]:
    """Measure networks in a folder, with a progress bar; return folder and accuracies."""
    rounding = request.rounding
    with followed("folder", "trainings", _RESUME, also_failed=True) as follower:
        return measure(
            kind,
            request.base,
            networks,
            request.measuring,
            options | {"rounding": [rounding.channels, rounding.resolution]},
            output=request.given.get("output"),
            listener=follower,
        )


MODES: dict[str, Callable[[Request], list[Architecture]]] = {
    "family": _family,
    "phi": _phi,
    "limits": _largest,
    "grid_search": _grid_search,
    "compare": _compare,
}
