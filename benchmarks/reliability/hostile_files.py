"""Files of every kind, changed, and the commands that read them."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnas_search.benchmarks.reliability import subject
from mnas_search.benchmarks.reliability.calling import must
from mnas_search.benchmarks.reliability.subject import NETWORK

_PLUGIN = Path(subject.__file__)
_RUN = (
    *("run", "--target-flops", "2M", "--space", f"{_PLUGIN}:Space", "--resolution", 32),
    *("--evaluator", f"{_PLUGIN}:score", "--workers", 0, "--trials", 3),
)
_TRAIN = ("train", NETWORK, "--epochs", 1, "--batch-size", 4, "--resolution", 16)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**400, 1e308, "", "text", [], {}, [[]], {"a": None}, "\udcff"),
    *(float("nan"), float("-inf"), "/etc/passwd", "../..", "no.py:X", [0] * 50, "x" * 3000),
)


def make_samples(folder: Path) -> Path:
    """Make a run, a training, an export, data of several forms and texts; return the folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    must(*_RUN, "--output", folder / "run")
    images = rng.integers(0, 256, (12, 8, 8, 3), np.uint8)
    labels = np.arange(12) % 2
    splits = {"train": (0, 8), "val": (8, 10), "test": (10, 12)}
    arrays: dict[str, Any] = {
        f"{split}_{name}": values[low:high]
        for split, (low, high) in splits.items()
        for name, values in (("images", images), ("labels", labels))
    }
    np.savez(folder / "data.npz", **arrays)
    for number, image in enumerate(images):
        split = ("train", "val", "test")[min(number // 4, 2)]
        place = folder / "images" / split / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        suffix = ("png", "jpg", "gif", "bmp")[number % 4]
        Image.fromarray(image).save(place / f"{number}.{suffix}")
    must(*_TRAIN, "--data", folder / "images", "--output", folder / "training")
    must("export", folder / "training", "--to", "pytorch", "-o", folder / "export")
    must("export", NETWORK, "--to", "json", "-o", folder / "json")
    must("latency", "build", NETWORK, "--turns", 1, "-o", folder / "latency.json")
    (folder / "options.yaml").write_text("target_flops: 2M\ntrials: 3\nworkers: 0\n")
    (folder / "architectures.txt").write_text(f"# two\n{NETWORK}\nmnasnet_a1\n")
    return folder


def draw(rng: np.random.Generator, samples: Path, place: Path) -> list[object]:
    """Copy a sample, change one of its files, and return a command that reads it."""
    name, commands = list(_COMMANDS.items())[rng.integers(len(_COMMANDS))]
    source = samples / name
    copied = place / name
    if source.is_dir():
        shutil.copytree(source, copied)
    else:
        shutil.copy(source, copied)
    files = sorted(file for file in copied.rglob("*") if file.is_file()) or [copied]
    for _ in range(int(rng.integers(1, 3))):
        _change(rng, files[rng.integers(len(files))])
    return commands[rng.integers(len(commands))](copied, place)


_Command = Callable[[Path, Path], list[object]]
_COMMANDS: dict[str, tuple[_Command, ...]] = {
    "run": (
        lambda run, place: ["resume", run, "--format", "json"],
        lambda run, place: ["resume", run, "--trials", 4],
        lambda run, place: ["report", run],
        lambda run, place: ["compare", run, "--format", "json"],
        lambda run, place: ["profile", run, "--format", "json"],
        lambda run, place: ["export", run, "--to", "json", "-o", place / "out"],
        lambda run, place: [*_RUN, "--start-from", run, "--output", place / "new"],
        lambda run, place: [*_RUN, "--output", run],
    ),
    "training": (
        lambda training, place: ["resume", training],
        lambda training, place: ["export", training, "--to", "pytorch", "-o", place / "out"],
        lambda training, place: ["profile", training],
        lambda training, place: ["predict", training, training],
    ),
    "export": (
        lambda export, place: ["predict", export, export.parent],
        lambda export, place: [
            *("export", NETWORK, "--to", "pytorch", "--weights", export / "weights.pt"),
            *("-o", place / "out"),
        ],
        lambda export, place: [
            *("export", NETWORK, "--to", "pytorch", "--weights", export / "weights.safetensors"),
            *("-o", place / "out"),
        ],
    ),
    "json": (lambda folder, place: ["profile", *folder.glob("*.json")],),
    "data.npz": (
        lambda file, place: [*_TRAIN, "--data", file, "--output", place / "new"],
        lambda file, place: [*_RUN, "--start-from", file, "--output", place / "new"],
    ),
    "images": (lambda folder, place: [*_TRAIN, "--data", folder, "--output", place / "new"],),
    "latency.json": (
        lambda file, place: ["latency", "predict", NETWORK, "--table", file, "--format", "json"],
        lambda file, place: ["latency", "build", NETWORK, "--turns", 1, "-o", file],
        lambda file, place: [
            *(*_RUN, "--target-latency", "1s", "--latency-table", file),
            *("--output", place / "new"),
        ],
    ),
    "options.yaml": (lambda file, place: [*_RUN, "--config", file, "--output", place / "new"],),
    "architectures.txt": (
        lambda file, place: [
            *("evaluate", "--evaluator", f"{_PLUGIN}:score", "--file", file),
            *("--format", "json"),
        ],
        lambda file, place: ["profile", file],
    ),
}


def _change(rng: np.random.Generator, file: Path) -> None:
    """Change a file: its structure where it is JSON, its bytes, or all of it."""
    if not file.is_file():
        return
    content = file.read_bytes()
    if file.suffix in (".json", ".jsonl") and rng.random() < 0.6:
        file.write_bytes(_changed_json(rng, content))
        return
    kind = rng.integers(6)
    if kind == 0:
        file.write_bytes(content[: rng.integers(len(content) + 1)])
    elif kind == 1:
        file.write_bytes(b"")
    elif kind == 2:
        file.write_bytes(rng.bytes(int(rng.integers(1, 2000))))
    elif kind == 3:
        file.unlink()
        if rng.random() < 0.5:
            file.mkdir()
        else:
            file.symlink_to(("/dev/zero", str(file), "nowhere")[rng.integers(3)])
    else:
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 9)) if changed else 0):
            changed[rng.integers(len(changed))] = rng.integers(256)
        file.write_bytes(bytes(changed))


def _changed_json(rng: np.random.Generator, content: bytes) -> bytes:
    """Put another value in the place of one, in one of the lines."""
    lines = content.splitlines() if content.count(b"\n{") > 1 else [content]
    number = int(rng.integers(len(lines))) if lines else 0
    try:
        value = json.loads(lines[number])
    except (ValueError, IndexError):
        return content
    lines[number] = json.dumps(_replaced(rng, value)).encode()
    return b"\n".join(lines) + b"\n"


def _replaced(rng: np.random.Generator, value: Any) -> Any:
    inside = isinstance(value, dict | list) and value and rng.random() < 0.85
    if not inside:
        return _VALUES[rng.integers(len(_VALUES))]
    copy = dict(value) if isinstance(value, dict) else list(value)
    keys = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    key = keys[rng.integers(len(keys))]
    if rng.random() < 0.1:
        del copy[key]
    else:
        copy[key] = _replaced(rng, copy[key])
    return copy


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Give an empty folder, and remove it with all that a command has made there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
