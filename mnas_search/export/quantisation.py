"""Static int8 quantisation of an ONNX file by ONNX Runtime, with its accuracy beside the original.

Weights become int8 and activations uint8, as pairs of QuantizeLinear and DequantizeLinear around
the operators: weights per channel (arXiv 1806.08342, section 3.1.2), activations over the range
that they have on training images, averaged over small batches, so that a few outliers do not widen
it (arXiv 1712.05877, section 3.1).
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.extras import require_packages
from mnas_search.common.files import write_atomically
from mnas_search.common.statistics import wilson
from mnas_search.data import Dataset, Split
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.export.base import Origin
from mnas_search.export.onnx_file import metadata, with_metadata
from mnas_search.training.loop import Images

_CALIBRATION_IMAGES = 512
# The largest and smallest activations of each batch are averaged. On a small network with SiLU
# and squeeze-and-excitation, 92 % of 3,000 test images kept their class with batches of 8, 87 %
# with batches of 64, and 79 % with the range over all images.
_CALIBRATION_BATCH = 8
_BATCH = 64


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """The result of a quantisation, measured by ONNX Runtime on `count` test images.

    Attributes:
        int8, fp32: numbers of test images that each network classifies correctly.
        equal: number of test images that both assign to the same class.
    """

    int8: int
    fp32: int
    equal: int
    count: int

    @property
    def drop(self) -> float:
        """The test accuracy that int8 loses, in points."""
        return 100 * (self.fp32 - self.int8) / self.count

    @property
    def text(self) -> str:
        """Both accuracies with 95 % intervals, and the share of equal classes."""
        return (
            f"test accuracy int8 {self._accuracy(self.int8)}, fp32 {self._accuracy(self.fp32)}, "
            f"of {self.count:,} images; {self.equal / self.count:.1%} have the same class"
        )

    def _accuracy(self, right: int) -> str:
        low, high = wilson(right, self.count)
        return f"{right / self.count:.4f} [{low:.4f}, {high:.4f}]"


def quantise(
    file: Path, architecture: Architecture, origin: Origin, data: Dataset, max_drop: float
) -> Quantised:
    """Quantise a file that `OnnxExporter` wrote, calibrated on training images, and measure both
    on the test split; the int8 file replaces it.

    Args:
        origin: of the file, with the preprocessing of its images.
        max_drop: the loss of test accuracy that is accepted, in points.

    Raises:
        UsageError: the preprocessing is unknown, or the data have other classes.
        WorkFailed: the loss is larger; the file stays as it is.
    """
    require_packages("onnx", "onnx", "onnxruntime")
    if (images := origin.preprocessing) is None:
        raise UsageError("--quantize requires the weights of a training, got others")
    named = data.class_names if origin.class_names else ()
    if data.num_classes != architecture.num_classes or named != origin.class_names:
        raise UsageError(
            f"--quantize requires data with the network's {architecture.num_classes} classes, got "
            f"{data.name!r} with {data.num_classes}"
        )
    content = file.read_bytes()
    share = min(1.0, _CALIBRATION_IMAGES / len(data.train.labels))
    changed = _quantised(content, _batches(data.train.part(share), images, _CALIBRATION_BATCH))
    fp32, int8 = (_classes(each, data.test, images) for each in (content, changed))
    found = Quantised(
        int8=int((int8 == data.test.labels).sum()),
        fp32=int((fp32 == data.test.labels).sum()),
        equal=int((int8 == fp32).sum()),
        count=len(fp32),
    )
    if found.drop > max_drop:
        raise WorkFailed(
            f"int8 loses {found.drop:.1f} points of accuracy, --max-drop is {max_drop:g} "
            f"({found.text}); networks with ReLU6 and without squeeze-and-excitation lose less: "
            "mnas-search train ARCH --lite, or fit and run with --lite"
        )
    fact = ("quantised", f"int8 by ONNX Runtime, weights per channel: {found.text}")
    told = metadata(replace(origin, facts=(*origin.facts, fact)))
    write_atomically(file, with_metadata(changed, told))
    return found


def _batches(
    split: Split, preprocessing: Preprocessing, size: int = _BATCH
) -> Iterator[NDArray[np.float32]]:
    """Yield the images of a split as a network takes them, float32 [N, 3, R, R]."""
    images = Images(
        split,
        resolution=preprocessing.size,
        normalisation=preprocessing.normalisation,
        flips=False,
    )
    for start in range(0, len(images), size):
        yield images.normalise(images.batch(slice(start, start + size))).numpy()


def _quantised(content: bytes, batches: Iterator[NDArray[np.float32]]) -> bytes:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            images = next(batches, None)
            return None if images is None else {"images": images}

    with tempfile.TemporaryDirectory() as folder:
        given, inferred, made = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        given.write_bytes(content)
        quant_pre_process(given, inferred, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            inferred,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},
        )
        return made.read_bytes()


def _classes(content: bytes, split: Split, preprocessing: Preprocessing) -> NDArray[np.int64]:
    """Return the class of each image of a split."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = [
        session.run(["logits"], {"images": images})[0].argmax(1)
        for images in _batches(split, preprocessing)
    ]
    return np.concatenate(found)
