"""Initial weights: read from the argument of `--init`, and matched to a network.

A state dict does not contain batch norm's epsilon, padding or normalisation; see `settings`.
"""

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, shorten, single_line
from mnas_search.common.files import read_json
from mnas_search.networks.weights.reading import BEST, load
from mnas_search.networks.weights.torchvision_names import is_named, torchvision_names

_SOURCES = (
    "a safetensors file, a torch file of a state dict, or the folder of a training or export"
)
# Where training scripts keep the state dict inside a file; averages are preferred.
_NESTED = ("model_ema", "state_dict_ema", "weights", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_COUNTERS = ("num_batches_tracked", "n_averaged")
_CLASSIFIER = "classifier"
_BY_NAME, _BY_TABLE, _BY_ORDER = "name", "torchvision's names", "the order of layers"
_FILES = ("weights.pt", "weights.safetensors", "model.safetensors")  # of exports
_MAX_NAMED, _MAX_LENGTH = 3, 120  # names in a message, and characters of a name


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

    The order serves torchvision's MobileNetV2 and others that name the same layers differently.
    The classifier is taken if it has the right number of classes, and is new otherwise.

    Raises:
        UsageError: another parameter is missing, has another shape, or has no place; the message
            names the first ones.
    """
    given = {k: v for k, v in weights.items() if k.rpartition(".")[2] not in _COUNTERS}
    expected = _expected(architecture)
    matched_by, pairs = _pairs(given, expected, architecture)
    wrong = [
        f"{name} {list(shape)} (there: {_described(pairs.get(name), given)})"
        for name, shape in expected.items()
        if not _fits(pairs.get(name), given, shape) and not _of_classifier(name)
    ]
    used = set(pairs.values())
    left = [name for name in given if name not in used]
    surplus = [f"{n} {list(given[n].shape)}" for n in left if not _of_classifier(n)]
    for what, names in (("do not fit", wrong), ("have no place in it", surplus)):
        if names:
            raise UsageError(
                f"weights for {architecture.label!r}: {len(names)} {what}: {abbreviate(names)}; "
                "expected those of the same network, except the classifier"
            )
    classifier = [n for n in expected if _of_classifier(n)]
    kept = all(_fits(pairs.get(n), given, expected[n]) for n in classifier)
    new = () if kept else tuple(classifier)
    taken = {n: given[pairs[n]] for n in expected if n not in new}
    left += [pairs[n] for n in new if n in pairs]
    return FittedWeights(
        weights=taken, new=new, taken=len(taken), matched_by=matched_by, left=tuple(left)
    )


def read(source: Path) -> dict[str, Tensor]:
    """Read the state dict of a file or folder.

    Raises:
        UsageError: there is none, its tensors are not usable, or the weights are untrained.
    """
    path = weights_file(source)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            value: Any = load_file(path)
        except Exception as error:  # a malformed file may raise anything
            raise _unreadable(path, error) from None
    else:
        try:
            value = load(path)
        except pickle.UnpicklingError:
            raise UsageError(
                f"{str(path)!r} must be a state dict, got objects that cannot be read safely"
            ) from None
        except Exception as error:
            raise _unreadable(path, error) from None
    tensors = _state_dict(value, path)
    for name, tensor in tensors.items():
        if (why := _unusable(name, tensor, path.stat().st_size)) is not None:
            raise UsageError(
                f"{str(path)!r}: {shorten(name, _MAX_LENGTH)!r} must be a dense tensor of finite "
                f"floating-point numbers, it {why}"
            )
    return tensors


def _unusable(name: str, tensor: Tensor, file_size: int) -> str | None:
    """Say why a tensor of a file of `file_size` bytes is not usable; None if it is."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "quantized" if tensor.is_quantized else "without values"
        return f"is {'sparse' if tensor.layout != torch.strided else kind}"
    if name.rpartition(".")[2] in _COUNTERS:
        return None
    if not tensor.is_floating_point():
        return f"is {str(tensor.dtype).removeprefix('torch.')}"
    # A stride of 0 makes one value look like any number of them.
    if tensor.numel() * tensor.element_size() > file_size:
        return f"has the shape {list(tensor.shape)} in a file of {file_size:,} bytes"
    # In single precision, where 1e300 is infinite.
    finite = bool(tensor.float().isfinite().all())
    return None if finite else "holds values that are not finite numbers"


def _unreadable(path: Path, error: Exception) -> UsageError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return UsageError(f"cannot read {str(path)!r}: {reason}: expected {_SOURCES}")


def weights_file(source: Path) -> Path:
    """Find the file of weights of a path; raises `UsageError` if they are untrained."""
    if source.is_file():
        if source.stem == "weights" and _untrained(source.with_name("weights.json")):
            raise _of_no_training(source)
        return source
    if not source.is_dir():
        raise UsageError(f"no weights {str(source)!r}: expected {_SOURCES}")
    for file in (folder / name for folder in (source / "export", source) for name in _FILES):
        if file.is_file():
            if _untrained(file.with_name("weights.json")):
                raise _of_no_training(source)
            return file
    if (source / BEST).is_file():
        return source / BEST
    raise UsageError(f"{str(source)!r} holds no weights: expected {_SOURCES}")


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


def _of_no_training(source: Path) -> UsageError:
    return UsageError(f"the weights of {str(source)!r} must be trained, got untrained ones")


def _untrained(file: Path) -> bool:
    try:
        return str(read_json(file)["weights"]).startswith("untrained")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _state_dict(value: Any, path: Path) -> dict[str, Tensor]:
    for name in _NESTED:
        inner = value.get(name) if isinstance(value, dict) else None
        if isinstance(inner, dict):
            value = inner
            break
    tensors = {}
    if isinstance(value, dict):
        tensors = {str(k): v for k, v in value.items() if isinstance(v, Tensor)}
    if not tensors:
        raise UsageError(f"{str(path)!r} holds no state dict: expected {_SOURCES}")
    for prefix in _PREFIXES:
        own = {k: v for k, v in tensors.items() if k.rpartition(".")[2] not in _COUNTERS}
        if own and all(name.startswith(prefix) for name in own):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


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
    """Return how names were matched, and the given name for each expected one."""
    own = {name: name for name in expected if name in given}
    if is_named(architecture):
        # Without squeeze-and-excitation, its index is skipped or not.
        tables = [
            torchvision_names(architecture, expected, empty_places=empty)
            for empty in (True, False)
        ]
        found = [{ours: other for ours, other in t.items() if other in given} for t in tables]
        best = max(found, key=len)
        # A few may be missing, as the caller reports. Both name a ResNet's first batch norm bn1.
        if len(best) > max(len(own), len(expected) / 2):
            return _BY_TABLE, best
    if own:
        return _BY_NAME, own
    return _BY_ORDER, _by_order(given, expected)


def _by_order(given: Iterable[str], expected: Iterable[str]) -> dict[str, str]:
    """Return the given name for each expected one, layer by layer."""
    ours, theirs = _layers(expected), _layers(sorted(given, key=_natural))
    return {
        f"{own}.{part}": f"{other}.{part}"
        for (own, parts), (other, there) in zip(ours, theirs, strict=False)
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
    return name.split(".")[0] in (_CLASSIFIER, "fc", "head")


def _fits(name: str | None, given: Mapping[str, Tensor], shape: tuple[int, ...]) -> bool:
    return name is not None and tuple(given[name].shape) == shape


def _described(name: str | None, given: Mapping[str, Tensor]) -> str:
    return "nothing" if name is None else f"{name} {list(given[name].shape)}"


def abbreviate(names: Iterable[str]) -> str:
    """List the first few names and the number of the others."""
    listed = [shorten(single_line(name), _MAX_LENGTH) for name in names]
    more = f" and {len(listed) - _MAX_NAMED} more" if len(listed) > _MAX_NAMED else ""
    return (", ".join(listed[:_MAX_NAMED]) + more) or "nothing"
