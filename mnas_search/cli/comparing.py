"""The command `compare`."""

from pathlib import Path

import click

from mnas_search.cli.options import FOLDER, format_option, print_json


@click.command()
@click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="RUN...")
@format_option
def compare(folders: tuple[Path, ...], form: str) -> None:
    """Compare runs side by side.

    RUN is the folder of a run, finished or not. Runs that differ in nothing but the seed repeat
    one setting, and are also shown as means and standard deviations over seeds. Only the files of
    the folders are read.
    """
    from mnas_search.experiments.search.report.side_by_side import (
        compare_runs,
        print_settings,
        to_json,
    )

    settings = compare_runs(folders)
    if form == "json":
        print_json(to_json(settings))
    else:
        print_settings(settings)


COMMANDS = (compare,)
