"""The command `predict`, which classifies images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.logs import notify
from mnas_search.cli.options import print_rows
from mnas_search.common.errors import UsageError, WorkFailed, single_line
from mnas_search.common.render.output import echo

if TYPE_CHECKING:
    from mnas_search.experiments.prediction import Prediction

_COLUMNS = ("file", "class", "probability", "top")


@click.command()
@click.argument("model", metavar="FOLDER|MODEL")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="Format of the result on standard output.",
)
def predict(model: str, images: tuple[str, ...], form: str) -> None:
    """Classify images by a trained network.

    FOLDER is that of a training, a fit or an export; MODEL is an .onnx or .pt2 file of an export.
    An IMAGE is a file, or a folder, which is searched for images at any depth. Images are prepared
    as those of the test were. An image that cannot be read is named on standard error; the exit
    code is then 1.
    """
    from mnas_search.common.folders import csv_text
    from mnas_search.data.folder import image_files
    from mnas_search.experiments.prediction import load_predictor

    files = image_files(Path(image) for image in images)
    predictor = load_predictor(Path(model))
    for note in predictor.notes:
        notify(f"note: {note}")
    rows, unreadable = [], 0
    for found in predictor.predict(files):
        if isinstance(found, UsageError):
            click.echo(f"error: {single_line(str(found))}", err=True)
            unreadable += 1
        else:
            rows.append(_row(found, as_text=form != "json"))
    if form == "csv":
        echo(csv_text(_COLUMNS, rows), end="")
    elif rows or form == "json":
        print_rows(rows, form)
    if unreadable:
        raise WorkFailed(f"{unreadable} of {len(files)} images cannot be read")


def _row(found: "Prediction", *, as_text: bool) -> dict[str, Any]:
    name, probability = found.top[0]
    top: Any = [{"class": name, "probability": share} for name, share in found.top]
    if as_text:
        top = ", ".join(f"{name} {share:.3f}" for name, share in found.top)
    return {"file": str(found.file), "class": name, "probability": probability, "top": top}


COMMANDS = (predict,)
