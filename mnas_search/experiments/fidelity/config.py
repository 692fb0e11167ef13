"""What is asked for, and how it fits what a folder holds already."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from mnas_search.common import plugins
from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.data import loading

COMMAND = "fidelity"
FEWEST = 4  # architectures: below, a rank correlation says nothing

DEFAULTS = {"space": "efficientnet", "evaluator": "proxy_training", "seed": 0}
_GROWING = {"architectures": 24, "seeds": 2}
_FILES = ("data", "space", "evaluator")


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityConfig:
    """What decides which trainings are done; None and empty where nothing was said.

    Attributes:
        data: what proxies are trained on; None for the evaluator's own default.
        space: where the architectures come from: a name, or `file.py:Name`.
        evaluator: what `proxies` are recipes of; it is constructed with `proxy=`.
        proxies: recipes to judge, as in `epochs=2`.
        references: what they are judged by: longer recipes, or names of evaluators.
        architectures: how many.
        seeds: trainings of an architecture by each recipe.
        seed: of everything random.
    """

    data: str | None = None
    space: str | None = None
    evaluator: str | None = None
    proxies: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    architectures: int | None = None
    seeds: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, low in {"architectures": FEWEST, "seeds": 1, "seed": 0}.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < low):
                raise UsageError(f"{name} is {value!r}; allowed: a whole number from {low}")
        for name in _FILES:
            value = getattr(self, name)
            if value is not None:
                absolute = loading.absolute if name == "data" else plugins.absolute
                object.__setattr__(self, name, absolute(value))
        object.__setattr__(self, "references", tuple(map(plugins.absolute, self.references)))

    def over(self, folder: Path, recorded: Mapping[str, Any] | None) -> Self:
        """With what was recorded in the folder, or defaults, where nothing was said.

        Recipes and references add up, and the numbers of architectures and seeds may grow: what is
        trained already stays of use. Raises `RunFolderError` for what would make it useless.
        """
        known = dict(recorded or {})
        settled: dict[str, Any] = {}
        for name in ("data", *DEFAULTS):
            value, old = getattr(self, name), known.get(name, DEFAULTS.get(name))
            if recorded is not None and value is not None and value != old:
                raise RunFolderError(
                    f"{name} is {value!r}, but the trainings in {str(folder)!r} have another; "
                    f"allowed: {'none' if old is None else repr(old)}, or a new folder"
                )
            settled[name] = old if value is None else value
        for name, default in _GROWING.items():
            value, old = getattr(self, name), known.get(name, default)
            if recorded is not None and value is not None and value < old:
                raise RunFolderError(
                    f"{name} is {value}, but {str(folder)!r} has more; allowed: {old} or more, or "
                    "a new folder"
                )
            settled[name] = old if value is None else value
        for name in ("proxies", "references"):
            settled[name] = tuple(dict.fromkeys([*known.get(name, ()), *getattr(self, name)]))
        return replace(self, **settled)

    @property
    def recorded(self) -> dict[str, Any]:
        """As config.json holds it, with the content of the user's own files."""
        values = asdict(self) | {
            "command": COMMAND,
            "proxies": list(self.proxies),
            "references": list(self.references),
        }
        names = {name: getattr(self, name) for name in _FILES}
        names |= {name: name for name in self.references}
        files = {
            name: plugins.content_hash(value)
            for name, value in names.items()
            if value is not None and plugins.is_file_reference(value)
        }
        return values | {"sha256": files}


def check_folder(folder: Path, recorded: Mapping[str, Any]) -> None:
    """Raise `RunFolderError` where the folder holds something else."""
    if recorded.get("command") != COMMAND:
        raise RunFolderError(
            f"{str(folder)!r} holds a run, no trainings of `mnas-search {COMMAND}`; allowed: a "
            "new folder, or one of its own"
        )


def check_files(folder: Path, recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise `RunFolderError` where a file of the user's has changed since."""
    for name, digest in asked["sha256"].items():
        if recorded["sha256"].get(name, digest) != digest:
            raise RunFolderError(
                f"{asked.get(name, name)!r} has changed since the trainings in {str(folder)!r}; "
                "allowed: the file as it was, or a new folder"
            )


def check_target(tau: float) -> None:
    """Raise `UsageError` for a tau that nothing could reach, or everything."""
    if not (math.isfinite(tau) and 0 < tau <= 1):
        raise UsageError(f"tau {tau:g}; allowed: above 0, at most 1")
