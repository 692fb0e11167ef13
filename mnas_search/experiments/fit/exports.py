"""The files of the trained network: those of its training, and ONNX where its packages are."""

import shutil
from pathlib import Path

from mnas_search.common import plugins
from mnas_search.common.errors import MnasSearchError, error_context
from mnas_search.common.files import atomic_directory
from mnas_search.experiments.training.trained import load_trained
from mnas_search.export.artefacts import write_export
from mnas_search.export.provenance import find_origin

ONNX = "onnx"  # the format, and the folder


def write_exports(training: Path, folder: Path) -> tuple[str, ...]:
    """Write a finished training's network to a folder, in which files are replaced.

    A failure of the export to ONNX costs no other file.

    Returns:
        Sentences on what could not be written.
    """
    with atomic_directory(folder) as temporary:
        shutil.copytree(training / "export", temporary, dirs_exist_ok=True)
    try:
        with error_context("the export to ONNX"), atomic_directory(folder / ONNX) as temporary:
            trained = load_trained(str(training))
            origin = find_origin(training, training, trained.architecture.resolution)
            exporter, weights = plugins.load("exporters", ONNX)(), trained.network.state_dict()
            write_export(exporter, trained.architecture, weights, origin, temporary)
    except MnasSearchError as error:
        return (f"no ONNX file: {error}",)
    return ()
