"""Matches a state dict to a network, and finds the network that one belongs to.

A state dict does not contain batch norm's epsilon, padding or normalisation; see `settings`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from mnas_search.architecture import published
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, shorten, single_line
from mnas_search.networks.weights.reading import MAX_LENGTH, PARTS
from mnas_search.networks.weights.torchvision_names import is_named, torchvision_names

_COUNTERS = ("num_batches_tracked", "n_averaged")
_CLASSIFIERS = {"classifier", "fc", "head"}
_BY_NAME, _BY_TABLE, _BY_ORDER = "name", "torchvision's names", "the order of layers"
_MAX_NAMED = 3  # names in a message


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedWeights:
    """Weights that fit a network.

    Attributes:
        weights: by name in the network's state dict, without `new`.
        new: names of the classifier, if the given one does not fit.
        taken: number of tensors taken.
        matched_by: "name", "torchvision's names", or "the order of layers" for other names.
        left: names of unused tensors.
    """

    weights: dict[str, Tensor]
    new: tuple[str, ...]
    taken: int
    matched_by: str
    left: tuple[str, ...]

    @property
    def text(self) -> str:
        """Summary of taken, new and unused tensors."""
        how = "" if self.matched_by == _BY_NAME else f" by {self.matched_by}"
        new = " and ".join(self.new) or "nothing"
        return f"{self.taken} tensors taken{how}; new: {new}; left over: {abbreviate(self.left)}"


def fit(weights: Mapping[str, Tensor], architecture: Architecture) -> FittedWeights:
    """Match a state dict to an architecture, by the names of timm's EfficientNet (which are ours),
    by those of torchvision's EfficientNet and ResNet, or by the order of layers.

    The order, the file's or that of sorted names, serves networks that name the same layers
    differently, such as torchvision's MobileNetV2. The classifier is taken if it has the right
    number of classes, and is new otherwise. Tensors outside the network, such as the `pos_weight`
    of a loss, are left over.

    Raises:
        UsageError: another parameter is missing, has another shape, or has no place; the message
            names the first ones.
    """
    given = {k: v for k, v in weights.items() if k.rpartition(".")[2] not in _COUNTERS}
    expected = _expected(architecture)
    matched_by, pairs = _pairs(given, expected, architecture)
    wrong = [
        f"{name} {list(expected[name])} (there: {_described(pairs.get(name), given)})"
        for name in _misfits(pairs, given, expected)
    ]
    used = set(pairs.values())
    left = [name for name in given if name not in used]
    roots = {_root(name) for name in (*expected, *used)}
    surplus = [f"{n} {list(given[n].shape)}" for n in left if _root(n) in roots - _CLASSIFIERS]
    unused = f"; unused are {abbreviate(left)}" if wrong and left else ""
    for what, names in (("do not fit", wrong), ("have no place in it", surplus)):
        if names:
            raise UsageError(
                f"weights for {architecture.label!r}: {len(names)} {what}: {abbreviate(names)}"
                f"{unused}; expected those of the same network, except the classifier"
            )
    classifier = [n for n in expected if _of_classifier(n)]
    kept = all(_fits(pairs.get(n), given, expected[n]) for n in classifier)
    new = () if kept else tuple(classifier)
    taken = {n: given[pairs[n]] for n in expected if n not in new}
    left += [pairs[n] for n in new if n in pairs]
    return FittedWeights(
        weights=taken, new=new, taken=len(taken), matched_by=matched_by, left=tuple(left)
    )


def identify(weights: Mapping[str, Tensor]) -> tuple[Architecture, FittedWeights]:
    """Find the published architecture that weights belong to, by names and shapes.

    Raises:
        UsageError: they are those of none.
    """
    classes = count_classes(weights)
    for name in published.names():
        architecture = published.architecture(name)
        try:
            fitted = fit(weights, replace(architecture, num_classes=classes or 1000))
        except UsageError:
            continue
        return replace(architecture, num_classes=classes or 1000), fitted
    raise UsageError(
        f"weights must be those of a training's folder or of {', '.join(published.names())}, got "
        f"{abbreviate(weights)}"
    )


def count_classes(weights: Mapping[str, Tensor]) -> int | None:
    """Count the classes of a state dict's classifier; None without a classifier."""
    rows = [len(t) for name, t in weights.items() if _of_classifier(name) and t.ndim == 2]
    return rows[-1] if rows else None


def has_initial_statistics(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether all batch norms have their initial statistics: means 0, variances 1."""
    initial = {"running_mean": 0.0, "running_var": 1.0}
    found = [
        bool((tensor == initial[part]).all())
        for name, tensor in weights.items()
        if (part := name.rpartition(".")[2]) in initial
    ]
    return bool(found) and all(found)


def _expected(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return names and shapes in order of execution, without counters."""
    shapes = {}
    for layer in plan(architecture).layers():
        for name, shape in layer.shapes.items():
            shapes[f"{layer.path}.{name}"] = shape
        if layer.op == "batch_norm":
            for name in ("running_mean", "running_var"):
                shapes[f"{layer.path}.{name}"] = (layer.out_channels,)
    return shapes


def _pairs(
    given: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    architecture: Architecture,
) -> tuple[str, dict[str, str]]:
    """Return how names were matched, and the given name for each expected one: of all ways the
    first with the fewest misfits."""
    ways = [(_BY_NAME, {name: name for name in expected if name in given})]
    if is_named(architecture):
        # Without squeeze-and-excitation, its index is skipped or not.
        for empty in (True, False):
            table = torchvision_names(architecture, expected, empty_places=empty)
            found = {ours: theirs for ours, theirs in table.items() if theirs in given}
            ways.append((_BY_TABLE, found))
    # A torch file has the order in which modules were made, safetensors one of its own.
    parts = [name for name in given if name.rpartition(".")[2] in PARTS]
    for names in (parts, sorted(parts, key=_natural)):
        ways.append((_BY_ORDER, _by_order(names, expected)))
    return min(ways, key=lambda way: len(_misfits(way[1], given, expected)))


def _misfits(
    pairs: Mapping[str, str],
    given: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
) -> list[str]:
    """Return the expected names, except the classifier's, that have no tensor of their shape."""
    return [
        name
        for name, shape in expected.items()
        if not _fits(pairs.get(name), given, shape) and not _of_classifier(name)
    ]


def _by_order(given: Iterable[str], expected: Iterable[str]) -> dict[str, str]:
    """Return the given name for each expected one, layer by layer."""
    return {
        f"{own}.{part}": f"{other}.{part}"
        for (own, parts), (other, there) in zip(_layers(expected), _layers(given), strict=False)
        for part in parts
        if part in there
    }


def _layers(names: Iterable[str]) -> list[tuple[str, set[str]]]:
    layers: dict[str, set[str]] = {}
    for name in names:
        path, _, part = name.rpartition(".")
        layers.setdefault(path, set()).add(part)
    return list(layers.items())


def _natural(name: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return a sort key by order of layers: numbers numerically, the classifier last."""
    words = re.split(r"[._]", name)
    return _of_classifier(name), [
        (int(w), "") if re.fullmatch("[0-9]{1,18}", w) else (-1, w) for w in words
    ]


def _of_classifier(name: str) -> bool:
    return _root(name) in _CLASSIFIERS


def _root(name: str) -> str:
    """Return the first word of a name, without numbers: `layer` of `layer2.0.conv1.weight`."""
    return name.split(".")[0].strip("_0123456789")


def _fits(name: str | None, given: Mapping[str, Tensor], shape: tuple[int, ...]) -> bool:
    return name is not None and tuple(given[name].shape) == shape


def _described(name: str | None, given: Mapping[str, Tensor]) -> str:
    return "nothing" if name is None else f"{name} {list(given[name].shape)}"


def abbreviate(names: Iterable[str]) -> str:
    """List the first few names and the number of the others."""
    listed = [shorten(single_line(name), MAX_LENGTH) for name in names]
    more = f" and {len(listed) - _MAX_NAMED} more" if len(listed) > _MAX_NAMED else ""
    return (", ".join(listed[:_MAX_NAMED]) + more) or "nothing"
