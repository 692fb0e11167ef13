"""What lies beside the export of a trained network, so that it can be used without mnas-search:

labels.json       the class names, in the order of the outputs
preprocess.json   how images are prepared: mean, std, size, crop, interpolation
predict.py        a script that classifies images; requires numpy, pillow and the format's runtime
"""

import ast
import inspect
import itertools
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import shown
from mnas_search.common.errors import UsageError
from mnas_search.common.files import write_atomically
from mnas_search.data import decode
from mnas_search.export.base import Exporter, Origin
from mnas_search.export.provenance import LABELS, PREPROCESS

if TYPE_CHECKING:
    from torch import Tensor

PREDICT = "predict.py"


def write_export(
    exporter: Exporter,
    architecture: Architecture,
    weights: "dict[str, Tensor] | None",
    origin: Origin,
    path: Path,
) -> tuple[Path, ...]:
    """Write an export to the existing folder `path`, and beside trained weights of known
    preprocessing what is needed to use them; returns all files.

    Raises:
        InvalidArchitecture, UsageError: as `Exporter.export` does, and where it returns no files.
    """
    files = exporter.about(origin).export(architecture, weights, path)
    if (
        not isinstance(files, tuple | list)
        or not files
        or not all(_is_written(file, path) for file in files)
    ):
        raise UsageError(f"export must return the files that it has written, got {shown(files)}")
    if weights is None or origin.preprocessing is None:
        return tuple(files)
    labels = origin.class_names or tuple(map(str, range(architecture.num_classes)))
    texts = {
        LABELS: json.dumps(labels, indent=2) + "\n",
        PREPROCESS: json.dumps(origin.preprocessing.to_dict(), indent=2) + "\n",
    }
    if exporter.runtime is not None:
        texts[PREDICT] = predict_source(exporter.runtime)
    return (*files, *(write_atomically(path / name, text) for name, text in texts.items()))


def _is_written(file: object, folder: Path) -> bool:
    return isinstance(file, Path) and file.is_relative_to(folder) and file.is_file()


def predict_source(runtime: str) -> str:
    """Return the text of `predict.py`, with the functions that prepare the images of a test.

    Args:
        runtime: see `Exporter`.
    """
    functions = (decode.to_pixels, decode.to_rgb, decode.square)
    sources = "\n\n".join(inspect.getsource(function) for function in functions)
    imports, rest = _split_imports(runtime.strip())
    text = _TEMPLATE.replace("#imports#", textwrap.indent(imports, "    ").strip())
    return text.replace("#runtime#", rest.strip()).replace("#decode#", sources.strip())


def _split_imports(source: str) -> tuple[str, str]:
    """Return the imports that source begins with, and the rest of it."""
    nodes = ast.parse(source).body
    leading = itertools.takewhile(lambda n: isinstance(n, ast.Import | ast.ImportFrom), nodes)
    end = max((node.end_lineno or 0 for node in leading), default=0)
    lines = source.splitlines()
    return "\n".join(lines[:end]), "\n".join(lines[end:])


_TEMPLATE = '''\
"""Classify images: python predict.py IMAGE...

Prints a line `file,class,probability` for each image. Written by mnas-search.
"""

import csv
import json
import struct
import sys
from pathlib import Path

try:
    import numpy as np
    from PIL import Image, ImageOps

    #imports#
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    package = {"PIL": "pillow"}.get(error.name, error.name.split(".")[0])
    sys.exit(f"error: predict.py requires {package}: pip install {package}")

HERE = Path(__file__).resolve().parent
LABELS = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
SETTINGS = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
Pixels = np.ndarray

#runtime#


#decode#


def prepare(path):
    """Read an image as the network takes it: float32 [1, 3, R, R]."""
    with Image.open(path) as image:
        pixels = to_pixels(image, SETTINGS["size"], SETTINGS["crop"], SETTINGS["interpolation"])
    normalised = (pixels / 255 - np.array(SETTINGS["mean"])) / np.array(SETTINGS["std"])
    return normalised.astype(np.float32).transpose(2, 0, 1)[None]


def predict(path):
    """Return the probability of each class of `LABELS`, in order."""
    scores = np.asarray(logits(prepare(path)), np.float64)[0]
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def main():
    """Classify the images of the command line; return the exit code."""
    if len(sys.argv) < 2:
        print("usage: python predict.py IMAGE...", file=sys.stderr)
        return 2
    table, failed = csv.writer(sys.stdout, lineterminator="\\n"), False
    table.writerow(("file", "class", "probability"))
    for path in sys.argv[1:]:
        try:
            found = predict(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            failed = True
        else:
            table.writerow((path, LABELS[found.argmax()], f"{found.max():.6f}"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
'''
