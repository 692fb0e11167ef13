"""The files of the trained network: those of its training, and ONNX where its packages are."""

import shutil
from pathlib import Path

from mnas_search.common import plugins
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.common.files import atomic_directory
from mnas_search.experiments.training.trained import load_trained
from mnas_search.export.artefacts import write_export
from mnas_search.export.provenance import find_origin

ONNX = "onnx"  # the format, and the folder


def write_exports(training: Path, folder: Path) -> tuple[str, ...]:
    """Write a finished training's network to a folder, in which files are replaced.

    Returns:
        Sentences on what could not be written.
    """
    trained = load_trained(str(training))
    notes: tuple[str, ...] = ()
    with atomic_directory(folder) as temporary:
        shutil.copytree(training / "export", temporary, dirs_exist_ok=True)
        target = temporary / ONNX
        target.mkdir()
        origin = find_origin(training, training, trained.architecture.resolution)
        weights = trained.network.state_dict()
        try:
            write_export(
                plugins.load("exporters", ONNX)(), trained.architecture, weights, origin, target
            )
        except (UsageError, InvalidArchitecture) as error:
            notes = (f"no ONNX file: {error}",)
            shutil.rmtree(target)
    return notes
