"""Who takes part, by name, and the hash of the code behind each.

random_search, tpe, ...        installed controllers
bayesian-no-cost, ...          ablations of `bayesian`
random, optuna_gp, ...         peers
optuna_tpe+within, ...         peers whose proposals over the target are drawn again
optuna_gp+start, ...           peers that get the first 4 networks of `bayesian`
my.py:Mine                     your controller
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mnas_search.benchmarks.discovery.peers.local_search import LocalSearch, local_search_within
from mnas_search.benchmarks.discovery.peers.optuna_samplers import optuna_gp, optuna_tpe
from mnas_search.benchmarks.discovery.peers.regularized_evolution import RegularizedEvolution
from mnas_search.benchmarks.discovery.peers.reinforce import Reinforce
from mnas_search.benchmarks.discovery.peers.started import Started
from mnas_search.benchmarks.discovery.peers.uniform import Uniform
from mnas_search.benchmarks.discovery.peers.within import Within
from mnas_search.benchmarks.discovery.searchers import MakeSearcher, Ours, Searcher
from mnas_search.common import plugins
from mnas_search.common.errors import UnknownName, UsageError
from mnas_search.nas.problem import Problem

REFERENCE = "bayesian"
PEERS: dict[str, MakeSearcher] = {
    "random": Uniform,
    "local_search": LocalSearch,
    "local_search_within": local_search_within,
    "regularized_evolution": RegularizedEvolution,
    "reinforce": Reinforce,
    "optuna_tpe": optuna_tpe,
    "optuna_gp": optuna_gp,
}
ABLATIONS: dict[str, dict[str, Any]] = {
    f"{REFERENCE}-no-cost": {"modelled": "reward"},
    f"{REFERENCE}-no-log-error": {"modelled": "accuracy"},
    f"{REFERENCE}-no-blocks": {"blocks": False},
    f"{REFERENCE}-plain": {"modelled": "accuracy", "blocks": False},
    f"{REFERENCE}-no-start": {"start": False},
    f"{REFERENCE}-no-log-macs": {"log_macs": False},
}
STARTED = tuple(
    f"{name}+start"
    for name in ("local_search_within", "regularized_evolution", "optuna_tpe", "optuna_gp")
)
WITHIN = tuple(f"{name}+within" for name in ("random", "optuna_tpe", "optuna_gp"))
# Milliseconds per decision for any history: long runs over many seeds cost next to nothing.
CHEAP = frozenset(
    {"random_search", "evolution", "ppo", "nsga2", "random", "local_search", "reinforce"}
    | {"local_search_within", "regularized_evolution", "random+within"}
    | {"local_search_within+start", "regularized_evolution+start"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One that takes part."""

    name: str  # as on the command line
    make: MakeSearcher  # from the problem and a seed
    settings: dict[str, str]  # what its proposals depend on besides

    @property
    def cheap(self) -> bool:
        """Whether it takes part in long runs over many seeds."""
        return self.name in CHEAP


def label(name: str) -> str:
    """Return a name without the folder of a file."""
    return name.replace("\\", "/").rpartition("/")[2] if plugins.is_file_reference(name) else name


def names() -> tuple[str, ...]:
    """Return the names of all installed controllers, peers and ablations."""
    installed = [p.name for p in plugins.installed("controllers")]
    reference = [*ABLATIONS, *STARTED] if REFERENCE in installed else []
    return (*installed, *PEERS, *WITHIN, *reference)


@functools.cache
def entry(name: str) -> Entry:
    """Return the entry called `name`."""
    if name in PEERS:
        make = PEERS[name]
        return Entry(name=name, make=make, settings=_settings(make, "optuna", "torch"))
    if name in WITHIN:
        drawn = entry(name.removesuffix("+within"))

        def make_within(problem: Problem, seed: int) -> Searcher:
            return Within(drawn.make(problem, seed), problem)

        within = {"within": source_hash(Within)}
        return Entry(name=name, make=make_within, settings=drawn.settings | within)
    if name in STARTED:
        inner, start = entry(name.removesuffix("+start")), entry(REFERENCE)
        settings = {f"start {key}": value for key, value in start.settings.items()}

        def make_started(problem: Problem, seed: int) -> Searcher:
            return Started(inner.make(problem, seed), start.make(problem, seed))

        settings |= inner.settings | {"started": source_hash(Started)}
        return Entry(name=name, make=make_started, settings=settings)
    if name in ABLATIONS:
        return _controller(name, REFERENCE, **ABLATIONS[name])
    if name in names() or plugins.is_file_reference(name):
        return _controller(name, name)
    raise UnknownName(
        f"controller must be one of {', '.join(names())}, or file.py:Name, got {name!r}"
    )


def _controller(name: str, plugin: str, **options: Any) -> Entry:
    controller = plugins.load("controllers", plugin)
    if not callable(controller):
        raise UsageError(f"controller {plugin!r} must be a Controller class")

    def make(problem: Problem, seed: int) -> Searcher:
        return Ours(plugins.make(controller, name, problem=problem, **options), problem, seed)

    settings = _settings(controller, "optuna") | {"options": repr(sorted(options.items()))}
    return Entry(name=name, make=make, settings=settings)


def _settings(made: Any, *packages: str) -> dict[str, str]:
    used = {package: version(package) for package in packages}
    return {"mnas-search": version("mnas-search"), "source": source_hash(made), **used}


# Packages whose code decides what a controller proposes.
_DECIDING = (
    "mnas_search.benchmarks.discovery.peers.",
    "mnas_search.controllers.",
    "mnas_search.nas.space.",
    "mnas_search.nas.surrogate.",
)


def source_hash(made: Any) -> str:
    """Hash the module that defines a class or function, and the deciding ones it imports."""
    return source_hash_of_file(Path(inspect.getfile(made)).resolve())


def source_hash_of_file(file: Path) -> str:
    """Hash a file likewise; comments and docstrings do not count."""
    trees: dict[Path, str] = {}
    _collect(file, trees)
    return hashlib.sha256("".join(trees.values()).encode()).hexdigest()[:16]


def _collect(file: Path, trees: dict[Path, str]) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [name for name in _imported(tree) if name.startswith(_DECIDING)]
    trees[file] = ast.dump(_WithoutDocstrings().visit(tree))
    for other in filter(None, map(_module_file, names)):
        if other not in trees:
            _collect(other, trees)


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield f"{node.module}."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_file(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name.rstrip("."))
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None
