"""Class probabilities of images, by a trained network or an exported model.

predictor = load_predictor(Path("trainings/efficientnet_b0-1"))
for found in predictor.predict([Path("cat.jpg")]):
    print(found)
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from mnas_search.common.errors import UsageError, single_line
from mnas_search.common.extras import require_packages
from mnas_search.data.decode import Pixels, decode_each
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.experiments.resolve import trained_folder
from mnas_search.experiments.training.trained import load_trained, prepare
from mnas_search.export.provenance import PREPROCESS, read_description

_BATCH = 256
_TOP = 5
_EXPECTED = (
    "the folder of a training, a fit or an export (pytorch, onnx, torch-export, timm, torchvision "
    "or huggingface), or an .onnx or .pt2 file"
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The most probable classes of an image, at most five, each with its probability; the first is
    the prediction."""

    file: Path
    top: tuple[tuple[str, float], ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictor:
    """A trained network that classifies image files.

    Attributes:
        logits: from prepared images float [N, 3, R, R] to [N, classes].
        class_names: in the order of the logits; empty if unknown: classes are then numbers.
        preprocessing: of the images.
        notes: sentences on what had to be assumed.
    """

    logits: Callable[[Tensor], Tensor]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()

    def predict(self, files: Sequence[Path]) -> Iterator[Prediction | UsageError]:
        """Yield the prediction for each file, or the reason why it cannot be read."""
        p = self.preprocessing
        for start in range(0, len(files), _BATCH):
            some = files[start : start + _BATCH]
            decoded = list(decode_each(some, p.size, p.crop, p.interpolation))
            pixels = [image for image in decoded if not isinstance(image, UsageError)]
            rows = iter(self._probabilities(np.stack(pixels)) if pixels else ())
            for file, image in zip(some, decoded, strict=True):
                yield image if isinstance(image, UsageError) else self._named(file, next(rows))

    def _probabilities(self, pixels: Pixels) -> Tensor:
        with torch.inference_mode():
            return self.logits(prepare(self.preprocessing, pixels)).softmax(1)

    def _named(self, file: Path, row: Tensor) -> Prediction:
        values, classes = row.topk(min(_TOP, len(row)))
        names = [self.class_names[k] if self.class_names else str(k) for k in classes.tolist()]
        return Prediction(file=file, top=tuple(zip(names, values.tolist(), strict=True)))


def load_predictor(path: Path) -> Predictor:
    """Load the trained network of a folder, an .onnx or a .pt2 file.

    The folder is that of a training, a fit or an export.

    Raises:
        UsageError: there is none, or it is untrained.
    """
    if (trained := trained_folder(path)) is not None:
        return _of_weights(trained)
    for suffix, load in {".onnx": _of_onnx, ".pt2": _of_program}.items():
        for file in (path, path / f"model{suffix}"):
            if file.suffix.lower() == suffix and file.is_file():
                return load(file)
    raise UsageError(f"predict requires {_EXPECTED}, got {str(path)!r}")


def _of_weights(folder: Path) -> Predictor:
    trained = load_trained(str(folder))
    # Channels last is 2 to 4 times as fast on CPUs.
    network = trained.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Predictor(
        logits=network,
        class_names=trained.class_names,
        preprocessing=trained.preprocessing,
        notes=trained.notes,
    )


def _of_program(path: Path) -> Predictor:
    try:
        network = torch.export.load(path).module()
    except Exception as error:  # of many classes, on a broken file
        raise UsageError(f"torch cannot read {str(path)!r}: {single_line(str(error))}") from None
    told = read_description(path.parent, resolution=0)
    if told.preprocessing is None:
        raise UsageError(
            f"{str(path)!r} must have {PREPROCESS} beside it, as `mnas-search export` writes it "
            "for trained networks"
        )
    return Predictor(
        logits=network, class_names=told.class_names, preprocessing=told.preprocessing
    )


def _of_onnx(path: Path) -> Predictor:
    require_packages("onnx", "onnxruntime")
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many classes, on a broken file
        raise UsageError(
            f"ONNX Runtime cannot read {str(path)!r}: {single_line(str(error))}"
        ) from None
    told = session.get_modelmeta().custom_metadata_map
    try:
        numbers = {name: json.loads(told[name]) for name in ("mean", "std", "size", "crop")}
        preprocessing = Preprocessing(**numbers, interpolation=told["interpolation"])
        names = tuple(map(str, json.loads(told.get("names", "[]"))))
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{str(path)!r} must have the metadata mean, std, size, crop and interpolation, as "
            f"`mnas-search export` writes them for trained networks: {error}"
        ) from None

    def logits(images: Tensor) -> Tensor:
        (found,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(found)

    return Predictor(logits=logits, class_names=names, preprocessing=preprocessing)
