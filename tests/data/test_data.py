"""Data by `--data`: every format as it lies on disk, odd images, splits, the cache."""

import html
import io
import json
import logging
import os
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mnas_search.common import plugins
from mnas_search.common.errors import UnknownName, UsageError
from mnas_search.data import Dataset, Split, assemble, decode, digits, load
from mnas_search.data.decode import decode as decode_one
from mnas_search.data.presets import PRESETS
from mnas_search.data.splits import cut
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.search.config import RunConfig, Setup
from mnas_search.nas.job import EvaluationJob, measure
from mnas_search.training import loop

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE = (255, 255, 255)
RUN = ("--target-flops", "400M", "--trials", 2, "--workers", 0, "--controller", "random_search")
QUICK = ("--proxy", "epochs=1,resolution=8,batch_size=16,width=0.125")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MNAS_SEARCH_CACHE", str(folder))
    return folder


def save(path, colour, *, size=(10, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def classes(root, sizes, *, colours=(RED, GREEN, BLUE), suffix=".png"):
    """Folders of classes a, b, c with these numbers of images, whose shade tells them apart."""
    for called, size, colour in zip("abc", sizes, colours, strict=False):
        for number in range(size):
            shade = tuple(max(0, c - number) for c in colour)
            save(root / called / f"{number:03}{suffix}", shade)
    return root


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def image(rows, mode="RGB"):
    """From rows of pixels."""
    made = Image.new(mode, (len(rows[0]), len(rows)))
    made.putdata([pixel for row in rows for pixel in row])
    return made


# --- images, against pixels by hand


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png16(values):
    """A 16-bit RGB PNG of one row, which Pillow itself cannot write."""

    def chunk(kind, body):
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", len(values), 1, 16, 2, 0, 0, 0)
    row = b"\0" + b"".join(struct.pack(">HHH", *value) for value in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def palette(*, transparent):
    made = Image.new("P", (1, 1), 1)
    made.putpalette([*GREEN, *BLUE])
    return encoded(made, "PNG", transparency=1) if transparent else encoded(made, "PNG")


def levels(dtype, values, form):
    return encoded(Image.fromarray(np.array([values], dtype)), form)


ONE = {
    "grey": (encoded(Image.new("L", (1, 1), 77), "PNG"), (77, 77, 77)),
    "bilevel": (encoded(Image.new("1", (1, 1), 1), "PNG"), WHITE),
    # 0.5 of red over white: (255, 127, 127)
    "RGBA": (encoded(Image.new("RGBA", (1, 1), (*RED, 128)), "PNG"), (255, 127, 127)),
    "RGBA, unseen": (encoded(Image.new("RGBA", (1, 1), (*RED, 0)), "PNG"), WHITE),
    "grey, half seen": (encoded(Image.new("LA", (1, 1), (0, 51)), "PNG"), (204, 204, 204)),
    "one colour unseen": (
        encoded(Image.new("RGB", (1, 1), RED), "PNG", transparency=RED),
        WHITE,
    ),
    "palette": (palette(transparent=False), BLUE),
    "palette, unseen": (palette(transparent=True), WHITE),
    "CMYK": (encoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"), RED),
    "16 bits, black": (levels("<u2", [0], "PNG"), (0, 0, 0)),
    "16 bits, dark": (levels("<u2", [257], "PNG"), (1, 1, 1)),
    "16 bits, middle": (levels("<u2", [0x8080], "PNG"), (128, 128, 128)),
    "16 bits, white": (levels("<u2", [65535], "PNG"), WHITE),
    "16 bits, TIFF": (levels("<u2", [0x8080], "TIFF"), (128, 128, 128)),
    "16 bits, big-endian": (levels(">u2", [0x8080], "TIFF"), (128, 128, 128)),
    "16 bits, PGM": (b"P5 1 1 65535 \x80\x80", (128, 128, 128)),
    "16 bits, RGB": (png16([(65535, 0x8080, 0)]), (255, 128, 0)),
    "WebP": (encoded(Image.new("RGB", (1, 1), BLUE), "WEBP", lossless=True), BLUE),
}


@pytest.mark.parametrize(("content", "expected"), ONE.values(), ids=ONE.keys())
def test_every_kind_of_pixel(content, expected):
    assert decode_one(content, 1).tolist() == [[list(expected)]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[RED, GREEN], [BLUE, WHITE]]),
        (2, [[GREEN, RED], [WHITE, BLUE]]),
        (3, [[WHITE, BLUE], [GREEN, RED]]),
        (6, [[BLUE, RED], [WHITE, GREEN]]),
        (8, [[GREEN, WHITE], [RED, BLUE]]),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_turned_upright(orientation, expected, form):
    content = encoded(image([[RED, GREEN], [BLUE, WHITE]]), form, exif=exif(orientation))
    assert decode_one(content, 2).tolist() == [[list(p) for p in row] for row in expected]


@pytest.mark.parametrize("block", [b"MM\0*\0\0\xff\xff", b"nonsense", b""])
def test_a_broken_exif_block_is_no_broken_image(block):
    content = encoded(Image.new("RGB", (2, 2), RED), "PNG", exif=b"Exif\0\0" + block)
    found = decode.decode_all("x", [("it", content)], count=1, side=2)
    assert (found.images == RED).all() and found.notes == ()


def test_the_centre_is_cut_out_and_the_shorter_side_is_kept():
    row = [RED, RED, GREEN, BLUE, GREEN, RED, RED, RED]  # the centre of 8 is 2 to 5
    wide = image([row] * 4)
    expected = [[list(p) for p in row[2:6]]] * 4
    assert decode_one(encoded(wide, "PNG"), 4).tolist() == expected
    tall = decode_one(encoded(wide.transpose(Image.Transpose.TRANSPOSE), "PNG"), 4)
    assert tall.transpose(1, 0, 2).tolist() == expected


def test_resizing_is_antialiased_and_enlarges_too():
    fine = np.indices((64, 64)).sum(0) % 2 * 255  # a checkerboard; aliased, it is 0 or 255
    small = decode_one(encoded(Image.fromarray(fine.astype(np.uint8)), "PNG"), 4)
    assert abs(small.astype(int) - 127).max() <= 1
    assert (decode_one(encoded(Image.new("RGB", (3, 2), BLUE), "PNG"), 5) == BLUE).all()


def test_a_large_jpeg_in_rgb_and_in_cmyk():
    halves = Image.new("RGB", (640, 320), RED)
    halves.paste(BLUE, (320, 0, 640, 320))
    inks = Image.new("CMYK", (640, 320), (0, 255, 255, 0))
    inks.paste((255, 255, 0, 0), (320, 0, 640, 320))
    for content in (encoded(halves, "JPEG"), encoded(inks, "JPEG")):
        found = decode_one(content, 8).astype(int)
        assert abs(found[:, :3] - RED).max() <= 8
        assert abs(found[:, 5:] - BLUE).max() <= 8


def test_the_first_of_several_frames():
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, BLUE)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_one(content, 2) == RED).all()


@pytest.mark.parametrize("dtype", ["<f4", "<i4"])
def test_pixels_without_a_white_are_refused(dtype):
    with pytest.raises(ValueError, match="the white level of 32-bit pixels is unknown"):
        decode_one(levels(dtype, [1], "TIFF"), 1)


# --- folders


def everything(dataset):
    """(split, class name, first pixel) of every image, sorted."""
    rows = []
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        for pixels, label in zip(split.images, split.labels, strict=True):
            rows.append((name, dataset.class_names[label], tuple(pixels[0, 0].tolist())))
    return sorted(rows)


def test_a_folder_of_classes(tmp_path):
    dataset = load(str(classes(tmp_path / "mine", [10, 5, 3])), side=8)
    assert (dataset.name, dataset.num_classes) == ("mine", 3)
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.notes == ()
    assert dataset.train.images.shape == (10, 8, 8, 3)  # 6 + 3 + 1
    for split, sizes in (("train", [6, 3, 1]), ("validation", [2, 1, 1]), ("test", [2, 1, 1])):
        assert np.bincount(getattr(dataset, split).labels).tolist() == sizes
    pixels = {(called, pixel) for _, called, pixel in everything(dataset)}
    assert pixels == {
        *(("a", (255 - k, 0, 0)) for k in range(10)),
        *(("b", (0, 255 - k, 0)) for k in range(5)),
        *(("c", (0, 0, 255 - k)) for k in range(3)),
    }


@pytest.mark.parametrize("validation", ["val", "Valid", "validation"])
def test_folders_of_splits_stay_as_they_are(tmp_path, validation):
    for split, colours in (
        ("train", [RED, GREEN]),
        (validation, [BLUE, RED]),
        ("test", [GREEN, BLUE]),
    ):
        classes(tmp_path / split, [2, 1], colours=colours)
    found = {(split, called, p) for split, called, p in everything(load(str(tmp_path), side=4))}
    assert found == {
        ("train", "a", (255, 0, 0)),
        ("train", "a", (254, 0, 0)),
        ("train", "b", (0, 255, 0)),
        ("validation", "a", (0, 0, 255)),
        ("validation", "a", (0, 0, 254)),
        ("validation", "b", (255, 0, 0)),
        ("test", "a", (0, 255, 0)),
        ("test", "a", (0, 254, 0)),
        ("test", "b", (0, 0, 255)),
    }


@pytest.mark.parametrize(("there", "missing"), [("test", "validation"), ("val", "test")])
def test_a_split_that_lacks_is_cut_from_train(tmp_path, there, missing):
    classes(tmp_path / "train", [10, 5])
    classes(tmp_path / there, [3, 4])
    dataset = load(str(tmp_path), side=4)
    kept = {"val": "validation"}.get(there, there)
    assert np.bincount(getattr(dataset, kept).labels).tolist() == [3, 4]
    assert np.bincount(dataset.train.labels).tolist() == [8, 4]
    assert np.bincount(getattr(dataset, missing).labels).tolist() == [2, 1]


def test_classes_that_are_called_like_splits(tmp_path):
    for called in ("train", "plane", "test"):
        classes(tmp_path / called, [])
        for number in range(3):
            save(tmp_path / called / f"{number}.png", RED)
    assert load(str(tmp_path), side=4).class_names == ("plane", "test", "train")


def test_what_lies_about_in_a_folder(tmp_path):
    root = classes(tmp_path / "mine", [5, 5])
    save(root / "a" / ".hidden.png", RED)
    save(root / ".thumbnails" / "x.png", RED)
    save(root / "a" / "deeper" / "one.PNG", RED)  # counts, as in other frameworks
    save(root / "loose.png", RED)
    (root / "empty").mkdir()
    (root / "README.md").write_text("hello")
    (root / "a" / "list.txt").write_text("hello")
    (root / "b" / "photo.heic").write_bytes(b"x")
    (root / "b" / "linked.png").symlink_to(root / "a" / "000.png")
    (root / "b" / "itself").symlink_to(root / "b")
    dataset = load(str(root), side=4)
    count = sum(len(split.labels) for split in (dataset.train, dataset.validation, dataset.test))
    assert count == 5 + 5 + 1 + 1
    assert dataset.class_names == ("a", "b")
    assert sorted(dataset.notes) == [
        "1 folders without images: empty",
        "1 images lie in subfolders of their class folder",
        "1 images lie outside the class folders and are skipped",
        "2 files are not images by their names and are skipped: .txt, .heic",
        "2 hidden or service files and folders are passed over: .hidden.png, .thumbnails",
    ]


def test_a_test_folder_without_labels(tmp_path):
    classes(tmp_path / "train", [5, 5])
    save(tmp_path / "test" / "unknown.png", RED)
    dataset = load(str(tmp_path), side=4)
    assert len(dataset.test.labels) == 2  # cut from train
    assert "test/ is not a split with class folders: skipped" in dataset.notes


def test_corrupt_images_are_named_counted_and_skipped(tmp_path, caplog):
    root = classes(tmp_path / "mine", [5, 5])
    whole = (root / "a" / "000.png").read_bytes()
    (root / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "a" / "text.png").write_text("no image at all")
    (root / "b" / "empty.jpg").write_bytes(b"")
    (root / "b" / "nowhere.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "b" / "pipe.png")
    dataset = load(str(root), side=4)
    assert sum(len(s.labels) for s in (dataset.train, dataset.validation, dataset.test)) == 10
    (note,) = dataset.notes
    assert note.startswith("5 of 15 images of data 'mine' cannot be read and were skipped: ")
    assert "a/cut.png (" in note and "a/text.png (" in note and "b/empty.jpg (" in note
    assert note.endswith("), ...")
    assert note in caplog.text
    evaluator = ProxyTraining(data=str(root))
    network = plugins.load("search_spaces", "efficientnet")()
    network = network.decode({d.name: d.options[0] for d in network.decisions})
    assert f"data mine: {note}" in evaluator.caveats(network)
    for number in range(6):
        (root / "b" / f"bad{number}.png").write_text("no image")
    with pytest.raises(
        UsageError,
        match=r"^11 of 21 images of data 'mine' cannot be read \(at most .* fail\): a/cut",
    ):
        load(str(root), side=4)


def test_names_that_are_no_text_or_have_several_lines(tmp_path, caplog):
    root = tmp_path / "two\nlines"
    classes(root, [3, 3])
    os.rename(root / "a", os.fsencode(root / "caf") + b"\xe9")
    (root / "b" / "x\ny.png").write_text("no image")
    for _ in range(2):  # decoded, and from the cache
        dataset = load(str(root), side=4)
        assert dataset.class_names == ("b", "caf\udce9")
        assert dataset.notes[0].endswith("b/x y.png (not an image)")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all(line.encode() and "\n" not in line for line in lines)


def refused(data, message):
    with pytest.raises(UsageError) as raised:
        load(str(data), side=4)
    text = str(raised.value)
    assert message in text, text
    assert "\n" not in text
    return text


def test_folders_that_hold_no_data(tmp_path):
    (tmp_path / "nothing").mkdir()
    refused(
        tmp_path / "nothing",
        "per class, with or without train, val and test above them, got no images",
    )
    save(tmp_path / "flat" / "x.png", RED)
    refused(tmp_path / "flat", "test above them, got images without class folders")
    classes(tmp_path / "one", [5])
    refused(tmp_path / "one", "data 'one' must have images of two classes or more, got one (a)")
    classes(tmp_path / "few", [1, 1, 2])
    refused(
        tmp_path / "few", "requires a class of 3 images or more, which data 'few' does not have"
    )
    classes(tmp_path / "both" / "train", [2, 2])
    classes(tmp_path / "both" / "val", [2, 2])
    classes(tmp_path / "both" / "valid", [2, 2])
    refused(tmp_path / "both", "both' must have one folder for validation, got val/ and valid/")
    classes(tmp_path / "late" / "test", [2, 2])
    refused(tmp_path / "late", "late' with test/ requires train/")
    bad = tmp_path / "bad"
    for called in "ab":
        (bad / called).mkdir(parents=True)
        (bad / called / "x.png").write_text("no image")
    refused(
        bad, "2 of 2 images of data 'bad' cannot be read (at most 10 or 1% may fail): a/x.png ("
    )


def test_more_than_memory_is_refused_at_once(tmp_path):
    root = classes(tmp_path / "mine", [3, 3])
    with pytest.raises(UsageError, match=r"6 images of data 'mine' at 1000000 pixels need 18000"):
        load(str(root), side=1_000_000)


# --- splits


def test_small_and_unequal_classes_are_said(tmp_path):
    root = classes(tmp_path / "mine", [60, 2, 1])
    dataset = load(str(root), side=4)
    assert np.bincount(dataset.train.labels).tolist() == [36, 2, 1]
    assert set(dataset.test.labels.tolist()) == {0}
    assert dataset.notes == (
        "2 classes have fewer than 3 images, which are all used for training: b, c",
        "class sizes range from 1 (c) to 60 (a): accuracy is mostly that of the large classes",
    )


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    parts=st.sampled_from([1, 2]),
    seed=st.integers(0, 9),
)
def test_cuts_are_disjoint_complete_stratified_and_the_same_each_time(sizes, parts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    part = cut(labels, parts)
    assert part.shape == labels.shape  # one part an image: disjoint and complete
    assert np.array_equal(part, cut(labels.copy(), parts))
    for label, size in enumerate(sizes):
        counts = np.bincount(part[labels == label], minlength=parts + 1)
        if size <= parts:
            assert counts.tolist() == [size] + [0] * parts
            continue
        for each in counts[1:]:
            assert each >= 1 and abs(each - 0.2 * size) <= max(0.5, 1 - 0.2 * size)
        assert counts[0] >= 1


def test_a_cut_does_not_follow_the_order_of_files():
    part = cut(np.zeros(100, np.int64), 2)
    for number in range(3):
        where = np.flatnonzero(part == number)
        assert where.min() < 20 and where.max() > 80


def test_classes_that_are_not_trained_or_not_measured():
    images = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    given = {
        "train": (images, np.array([0, 0, 1, 1])),
        "validation": (images[:1] + 100, np.array([1])),
        "test": (images[:2] + 200, np.array([1, 0])),
    }
    dataset = assemble("x", given, class_names=["a", "b", "c", "d"])
    assert dataset.notes == (
        "2 of 4 classes have no training images: c, d",
        "1 classes have no images in validation: a",
    )
    wrong = {**given, "test": (images[:2] + 200, np.array([2, 0]))}
    with pytest.raises(UsageError, match=r"^test of data 'x' must have only classes of train"):
        assemble("x", wrong, class_names=["a", "b", "c", "d"])
    with pytest.raises(UsageError, match="data 'x' must have a train split, got test"):
        assemble("x", {"test": given["test"]})
    with pytest.raises(
        UsageError, match="data 'x' must have at least one image for test, got none"
    ):
        assemble("x", {**given, "test": (images[:0], np.zeros(0, np.int64))})


def test_names_of_classes_and_notes_are_checked():
    whole = digits()
    parts = {"train": whole.train, "validation": whole.validation, "test": whole.test}
    with pytest.raises(UsageError, match="one name for each of 10 classes, or none, got 2"):
        Dataset(name="x", num_classes=10, class_names=("a", "b"), **parts)
    with pytest.raises(UsageError, match=r"notes must be a tuple of strings, got \['odd'\]"):
        Dataset(name="x", num_classes=10, notes=["odd"], **parts)


# --- CIFAR


def cifar_bytes(labels, *, fine=False, seed=0):
    """Records as in the files, and the images [N, 32, 32, 3] that they stand for."""
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
    content = b""
    for pixels, label in zip(images, labels, strict=True):
        content += bytes([7, label] if fine else [label])
        content += b"".join(pixels[:, :, channel].tobytes() for channel in range(3))
    return content, images


def cifar10(folder):
    folder.mkdir(parents=True)
    labels = list(range(10))
    for number in range(1, 6):
        content, _ = cifar_bytes(labels, seed=number)
        (folder / f"data_batch_{number}.bin").write_bytes(content)
    content, images = cifar_bytes(labels, seed=9)
    (folder / "test_batch.bin").write_bytes(content)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    return folder, images


def test_cifar_10_as_unpacked_and_as_the_archive(tmp_path):
    folder, images = cifar10(tmp_path / "data" / "cifar-10-batches-bin")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-bin")
    found = [
        load(str(path), side=32)
        for path in (folder, tmp_path / "data", tmp_path / "cifar-10-binary.tar.gz")
    ]
    for dataset in found:
        assert (dataset.name, dataset.num_classes) == ("cifar10", 10)
        assert dataset.class_names[3] == "cat"
        assert np.array_equal(dataset.test.images, images)
        assert dataset.test.labels.tolist() == list(range(10))
        assert np.bincount(dataset.train.labels).tolist() == [4] * 10
        assert np.bincount(dataset.validation.labels).tolist() == [1] * 10
        assert dataset.sha256 == found[0].sha256


def test_cifar_100_is_read_with_its_fine_labels(tmp_path):
    labels = [k for k in range(100) for _ in range(2)]
    (tmp_path / "train.bin").write_bytes(cifar_bytes(labels, fine=True)[0])
    content, images = cifar_bytes([5, 99], fine=True, seed=1)
    (tmp_path / "test.bin").write_bytes(content)
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"n{k}" for k in range(100)))
    dataset = load(str(tmp_path), side=64)
    assert (dataset.name, dataset.num_classes) == ("cifar100", 100)
    assert dataset.test.labels.tolist() == [5, 99]
    assert np.array_equal(dataset.test.images, images)  # of their own size, never enlarged
    assert dataset.class_names[99] == "n99"
    assert load(str(tmp_path), side=16).train.images.shape == (100, 16, 16, 3)


def test_cifar_that_is_not_whole(tmp_path):
    folder, _ = cifar10(tmp_path / "cifar")
    batch = folder / "data_batch_2.bin"
    content = batch.read_bytes()
    batch.write_bytes(content[:-1])
    refused(folder, "data_batch_2.bin of data")
    refused(folder, "must have records of 3073 bytes, got 30,729 bytes")
    batch.write_bytes(b"\x0b" + content[1:])
    refused(folder, "must be from 0 to 9, got 11")
    batch.unlink()
    refused(folder, "; it lacks data_batch_2.bin")
    batch.write_bytes(content)
    (folder / "batches.meta.txt").write_text("one\ntwo\n")
    refused(folder, "batches.meta.txt of data")
    python = tmp_path / "python" / "cifar-10-batches-py"
    python.mkdir(parents=True)
    (python / "data_batch_1").write_bytes(b"pickle")
    refused(tmp_path / "python", "must be CIFAR's binary version, got the Python version")
    torn = tmp_path / "torn.tar.gz"
    with tarfile.open(torn, "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-bin")
    torn.write_bytes(torn.read_bytes()[:2000])
    refused(torn, "torn.tar.gz' cannot be read")


# --- .npz


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_an_npz_with_its_own_splits(tmp_path, validation):
    """As MedMNIST has it."""
    arrays = {}
    for split, count in (("train", 6), (validation, 4), ("test", 2)):
        arrays[f"{split}_images"] = noise(count, 28, 28, seed=count)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    dataset = load(str(npz(tmp_path / "pneumoniamnist.npz", **arrays)), side=32)
    assert (dataset.name, dataset.num_classes) == ("pneumoniamnist", 2)
    for split, own in (("train", "train"), ("validation", validation), ("test", "test")):
        found = getattr(dataset, split)
        assert np.array_equal(found.images, arrays[f"{own}_images"][..., None].repeat(3, axis=3))
        assert found.labels.tolist() == arrays[f"{own}_labels"][:, 0].tolist()


def test_an_npz_that_is_split_by_us(tmp_path):
    images, labels = noise(20, 6, 9, 3), np.arange(20) % 4
    file = npz(tmp_path / "x.npz", images=images, labels=labels, class_names=list("wxyz"))
    dataset = load(str(file), side=6)
    assert dataset.class_names == ("w", "x", "y", "z")
    assert [len(s.labels) for s in (dataset.train, dataset.validation, dataset.test)] == [12, 4, 4]
    cropped = {pixels.tobytes() for pixels in images[:, :, 1:7]}
    assert {pixels.tobytes() for pixels in dataset.train.images} < cropped
    assert load(str(file), side=4).train.images.shape[1:] == (4, 4, 3)


NOT_NPZ = {
    "float images": (
        {"images": noise(4, 3, 3).astype(float)},
        "[N, H, W, 1] or [N, H, W, 3], got float64 [4, 3, 3]",
    ),
    "channels first": (
        {"images": noise(4, 3, 8, 8)},
        "must be uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3], got uint8 [4, 3, 8, 8]",
    ),
    "flat": (
        {"images": noise(4, 64)},
        "must be uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3], got uint8 [4, 64]",
    ),
    "no pixels": ({"images": noise(4, 0, 3)}, "must have at least one pixel, got [4, 0, 3]"),
    "several labels": (
        {"labels": np.zeros((4, 2), int)},
        "must be integers [4] or [4, 1], got int64 [4, 2]",
    ),
    "too few labels": (
        {"labels": np.zeros(3, int)},
        "must be integers [4] or [4, 1], got int64 [3]",
    ),
    "float labels": ({"labels": np.zeros(4)}, "must be integers [4] or [4, 1], got float64 [4]"),
    "negative": ({"labels": np.array([0, 1, 0, -1])}, "must be 0 or more, got -1"),
    "huge": (
        {"labels": np.array([0, 1, 0, 10**12])},
        "must be 0 or more and below its 4 images, got 1000000000000",
    ),
    "unnamed": ({"class_names": ["a"]}, "must be 0 or more and below its 1 classes, got 1"),
    "2**63": (
        {"labels": np.array([0, 1, 0, 2**63], np.uint64)},
        "below its 4 images, got 9223372036854775808",
    ),
    "float labels, with fractions": (
        {"labels": np.array([0, 1.5, 0, 1])},
        "must be integers [4] or [4, 1], got float64 [4]",
    ),
    "booleans": ({"labels": np.array([True, False] * 2)}, "[4] or [4, 1], got bool [4]"),
    "something else": ({"extra": np.zeros(3)}, "optionally class_names, got extra"),
    "half": ({"labels": None}, "must hold both images and labels, got one"),
    "two": ({"train_images": noise(4, 3, 3)}, "optionally class_names, got train twice"),
    "objects": ({"labels": np.array([{}] * 4)}, "cannot be read: Object arrays cannot be loaded"),
    "nothing": ({"images": None, "labels": None}, "optionally class_names, got nothing"),
}


@pytest.mark.parametrize(("changed", "message"), NOT_NPZ.values(), ids=NOT_NPZ.keys())
def test_an_npz_of_another_form(tmp_path, changed, message):
    arrays = {"images": noise(4, 3, 3), "labels": np.array([0, 1, 0, 1]), **changed}
    file = npz(tmp_path / "x.npz", **{k: v for k, v in arrays.items() if v is not None})
    refused(file, message)


def test_a_file_that_is_no_npz(tmp_path):
    file = tmp_path / "x.npz"
    file.write_text("no archive")
    refused(file, "x.npz' cannot be read")
    with open(file, "wb") as out:
        np.save(out, noise(4, 3, 3))
    refused(file, "x.npz' cannot be read")
    npz(file, images=noise(40, 8, 8), labels=np.arange(40) % 2)
    file.write_bytes(file.read_bytes()[:-100])
    refused(file, "x.npz' cannot be read")
    (tmp_path / "x.csv").write_text("a,b")
    refused(tmp_path / "x.csv", "or file.py:Name, got '")


# --- Hugging Face


@pytest.fixture
def hub(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    return datasets


def rows(datasets, sizes, **more):
    images = [
        Image.new("RGB", (6, 4), (50 * k, n, 0)) for k, s in enumerate(sizes) for n in range(s)
    ]
    labels = [k for k, size in enumerate(sizes) for _ in range(size)]
    names = [f"class {k}" for k in range(len(sizes))]
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=names)}
    columns = {"picture": images, "kind": labels}
    for name, (feature, value) in more.items():
        features[name], columns[name] = feature, [value] * len(labels)
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_hugging_face_from_disk(hub, tmp_path):
    whole = hub.DatasetDict(train=rows(hub, [5, 10]), test=rows(hub, [1, 2]))
    whole.save_to_disk(str(tmp_path / "saved"))
    dataset = load(f"hf:{tmp_path / 'saved'}", side=4)
    assert (dataset.name, dataset.class_names) == ("saved", ("class 0", "class 1"))
    assert everything(dataset)[:3] == [
        ("test", "class 0", (0, 0, 0)),
        ("test", "class 1", (50, 0, 0)),
        ("test", "class 1", (50, 1, 0)),
    ]
    assert np.bincount(dataset.train.labels).tolist() == [4, 8]

    rows(hub, [5, 10]).save_to_disk(str(tmp_path / "single"))
    dataset = load(f"hf:{tmp_path / 'single'}", side=4)
    assert np.bincount(dataset.train.labels).tolist() == [3, 6]

    folder = tmp_path / "parquet"
    folder.mkdir()
    rows(hub, [5, 10]).to_parquet(str(folder / "train-00000-of-00001.parquet"))
    rows(hub, [2, 2]).to_parquet(str(folder / "validation-00000-of-00001.parquet"))
    dataset = load(f"hf:{folder}", side=4)
    assert np.bincount(dataset.validation.labels).tolist() == [2, 2]
    assert np.bincount(dataset.test.labels).tolist() == [1, 2]


def test_hugging_face_columns_are_found_by_their_type(hub, tmp_path):
    many = rows(hub, [3, 3], coarse=(hub.ClassLabel(names=["x"]), 0))
    many.save_to_disk(str(tmp_path / "many"))
    refused(
        f"hf:{tmp_path / 'many'}",
        "one ClassLabel column, got picture (Image), kind (ClassLabel), coarse (ClassLabel)",
    )
    fine = rows(hub, [3, 3], text=(hub.Value("string"), "hello"))
    hidden = fine.map(lambda row: {"kind": -1})
    dictionary = hub.DatasetDict(train=fine, test=hidden, unsupervised=hidden)
    dictionary.save_to_disk(str(tmp_path / "fine"))
    assert load(f"hf:{tmp_path / 'fine'}", side=4).notes == (
        "the split 'unsupervised' is skipped",
        "the split 'test' has no labels and is skipped",
    )
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "x.xyz").write_text("x")
    refused(f"hf:{tmp_path / 'odd'}", "cannot be read by the package datasets")
    refused(
        "hf:",
        "data must be hf:NAME, hf:NAME:CONFIG or the path of an existing file, hf:PATH, got 'hf:'",
    )
    refused("hf:/no/where", "hf:PATH, got 'hf:/no/where'")


def test_hugging_face_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it fails
    text = refused("hf:some/name", "data that begin with hf: require the package datasets")
    assert text.endswith("pip install 'mnas-search[huggingface]'")


# --- names


def test_what_is_no_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = refused("banana", "data must be digits, a folder of images")
    assert "hf:NAME, or file.py:Name" in text
    refused("x" * 5000, "data must be digits, ")
    refused("", "or file.py:Name, got ''")
    refused("a\0b", "data must be digits, ")
    refused(
        "food101", "data 'food101' is not included: download Food-101 from https://data.vision.ee"
    )
    (tmp_path / "digits").mkdir()  # a name means the same in every folder
    assert load("digits", side=8).sha256 == digits().sha256
    refused("./digits", "test above them, got no images")
    classes(tmp_path / "food101", [3, 3])
    assert load("food101", side=4).name == "food101"
    with pytest.raises(UnknownName):
        load("nowhere.npz", side=4)


def test_presets_are_listed(run_cli):
    code, out, _ = run_cli("list", "datasets", "--format", "json")
    assert code == 0
    found = {row["name"]: row for row in json.loads(out)}
    assert set(found) == {"digits", *PRESETS}
    assert "cs.toronto.edu" in found["cifar10"]["target"]
    assert found["cifar10"]["package"] == "not embedded"


# --- the cache


@pytest.fixture
def decoded(monkeypatch):
    """Counts decoded images; the real decoder does the work."""
    count = []

    to_pixels = decode.to_pixels

    def counting(image, side):
        count.append(image)
        return to_pixels(image, side)

    monkeypatch.setattr(decode, "to_pixels", counting)
    return count


def test_images_are_decoded_once_a_side(tmp_path, decoded, cache):
    root = classes(tmp_path / "mine", [4, 4])
    first = load(str(root), side=4)
    assert len(decoded) == 8
    again = load(str(root), side=4)
    assert len(decoded) == 8
    assert again.sha256 == first.sha256
    assert (again.class_names, again.notes) == (first.class_names, first.notes)
    assert load(str(root), side=5).train.images.shape[1] == 5
    assert len(decoded) == 16
    assert sorted(f.suffix for f in (cache / "data").iterdir()) == [".npz", ".npz"]


@pytest.mark.parametrize("change", ["content", "another", "fewer", "renamed", "class"])
def test_changed_data_are_decoded_again(tmp_path, change):
    root = classes(tmp_path / "mine", [4, 4], suffix=".bmp")
    before = load(str(root), side=4).sha256
    file = root / "a" / "000.bmp"
    if change == "content":  # of the same size, with the old time
        old = os.stat(file)
        save(file, BLUE)
        assert file.stat().st_size == old.st_size
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    elif change == "another":
        save(root / "b" / "new.png", BLUE)
    elif change == "fewer":
        file.unlink()
    elif change == "renamed":
        file.rename(root / "a" / "zzz.bmp")
    else:
        file.rename(root / "b" / "zzz.bmp")
    assert load(str(root), side=4).sha256 != before


def test_copied_data_are_the_same_data(tmp_path):
    root = classes(tmp_path / "mine", [4, 4])
    shutil.copytree(root, tmp_path / "copy" / "mine")
    assert load(str(root), side=4).sha256 == load(str(tmp_path / "copy" / "mine"), side=4).sha256


@pytest.mark.parametrize("how", ["cut", "garbage", "flipped", "empty", "folder", "shapes", "text"])
def test_a_broken_cache_is_made_again(tmp_path, decoded, caplog, cache, how):
    root = classes(tmp_path / "mine", [4, 4])
    first = load(str(root), side=16)
    (file,) = (cache / "data").iterdir()
    content = bytearray(file.read_bytes())
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "garbage":
        file.write_bytes(b"garbage" * 100)
    elif how == "flipped":
        content[content.index(b"train_images.npy") + 1000] ^= 1  # a single bit of a pixel
        file.write_bytes(content)
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "folder":
        file.unlink()
        file.mkdir()
    else:
        with np.load(file) as arrays:
            parts = dict(arrays)
        if how == "shapes":
            parts["train_images"] = parts["train_images"][:, :, :, 0]
        else:
            parts["header"] = np.array("[1, 2")
        with open(file, "wb") as out:
            np.savez(out, **parts)
    assert load(str(root), side=16).sha256 == first.sha256
    assert len(decoded) == 16
    assert f"the cache {file} is broken and is made again" in caplog.text
    if how != "folder":
        load(str(root), side=16)
        assert len(decoded) == 16


def warned(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_cache_that_cannot_be_written(tmp_path, caplog, monkeypatch):
    root = classes(tmp_path / "mine", [4, 4])
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("MNAS_SEARCH_CACHE", str(file))
    assert load(str(root), side=4).num_classes == 2
    (line,) = warned(caplog)
    assert line.startswith("decoded images are not kept, and are decoded again next time: cannot")
    assert file.read_text() == "no folder"


def test_a_disk_that_is_full(tmp_path, caplog, cache):
    root = classes(tmp_path / "mine", [4, 4])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        dataset = load(str(root), side=64)  # 98 kB
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert dataset.num_classes == 2
    assert len(warned(caplog)) == 1
    assert list((cache / "data").iterdir()) == []


def test_where_the_cache_lies(tmp_path, monkeypatch):
    from mnas_search.data.cache import folder

    monkeypatch.delenv("MNAS_SEARCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "mnas-search"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder() == tmp_path / "home" / ".cache" / "mnas-search"


# --- whole runs


def learnable(root, count=20):
    """Dark against light, in train and test."""
    for split in ("train", "test"):
        for called, level in (("dark", 40), ("light", 200)):
            for number in range(count):
                shade = level + number + (20 if split == "test" else 0)
                save(root / split / called / f"{number}.png", (shade, shade, shade))
    return root


def run_and_change(run_cli, data, folder, change):
    """A run, which does not go on once the data have changed."""
    run = ("run", *RUN, *QUICK, "--output", folder, "--data", data)
    code, out, err = run_cli(*run)
    assert code == 0, err
    config = json.loads((folder / "config.json").read_text())["config"]
    assert config["data"] == str(data.resolve())
    assert len(config["data_sha256"]) == 64
    change()
    for again in (("resume", folder), run):
        code, _, err = run_cli(*again)
        assert code == 2
        assert f"{str(data.resolve())!r} has changed since the run" in err
    return out, config


def test_a_run_on_a_folder_of_images(tmp_path, run_cli, monkeypatch):
    root = learnable(tmp_path / "mine")
    (root / "train" / "dark" / "[odd").mkdir()
    (root / "train" / "dark" / "[odd" / "].png").write_text("no image")
    monkeypatch.chdir(tmp_path)
    _, config = run_and_change(
        run_cli,
        root.relative_to(tmp_path),
        tmp_path / "run",
        lambda: save(root / "train" / "dark" / "0.png", BLUE),
    )
    assert config["num_classes"] == 2
    said = html.unescape((tmp_path / "run" / "report.html").read_text())
    assert "Data mine: 1 of 81 images of data 'mine' cannot be read and were skipped: " in said
    assert "train/dark/[odd/].png (not an image)" in said


@pytest.mark.full
def test_a_run_on_cifar_10(tmp_path, run_cli):
    folder, _ = cifar10(tmp_path / "cifar")

    def change():
        batch = folder / "data_batch_1.bin"
        content = bytearray(batch.read_bytes())
        content[100] ^= 255
        batch.write_bytes(content)

    _, config = run_and_change(run_cli, folder, tmp_path / "run", change)
    assert config["num_classes"] == 10


def test_a_run_on_an_npz(tmp_path, run_cli):
    file = npz(tmp_path / "x.npz", images=noise(30, 8, 8), labels=np.arange(30) % 3)
    run_and_change(
        run_cli,
        file,
        tmp_path / "run",
        lambda: npz(file, images=noise(30, 8, 8), labels=np.arange(30)[::-1] % 3),
    )


def test_hugging_face_data_of_a_run_are_recorded_from_the_root_on(hub, tmp_path, monkeypatch):
    rows(hub, [10, 10]).save_to_disk(str(tmp_path / "saved"))
    monkeypatch.chdir(tmp_path)
    config = RunConfig(target_flops=4e8, data="hf:saved", proxy="resolution=4")
    assert config.data == f"hf:{tmp_path / 'saved'}"
    recorded = Setup(config).recorded
    assert recorded["data_sha256"] == load("hf:saved", side=4).sha256
    for file in (tmp_path / "saved").iterdir():
        os.utime(file)  # touched, not changed
    assert Setup(config).recorded == recorded
    assert RunConfig(target_flops=4e8, data="hf:some/name").data == "hf:some/name"
    assert RunConfig(target_flops=4e8, data="digits").data == "digits"


def test_evaluate_says_what_is_odd_on_standard_error(tmp_path):
    """In a process of its own, where nothing else handles warnings."""
    root = learnable(tmp_path / "mine", 5)
    (root / "test" / "dark" / "broken.png").write_text("no image")
    command = [sys.executable, "-m", "mnas_search", "evaluate", "efficientnet_b0", *QUICK]
    command += ["--data", root, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)[0]["accuracy"] <= 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("data mine: 1 of 21 images of data 'mine' cannot be read and were")


# --- Ray

VIEWS = '''
"""How arrays arrive at a worker."""
import os
import time

from mnas_search import Evaluation, Evaluator, Resources


class Views(Evaluator):
    def __init__(self, trained):
        self.trained = trained

    @property
    def resources(self):
        return Resources(cpus=1)

    def evaluate(self, network, *, seed):
        splits = (self.trained._train, self.trained._validation)
        for array in (a for split in splits for a in (split.images, split.labels)):
            assert not array.flags.writeable and not array.flags.owndata, array.flags
        time.sleep(0.2)
        yield from self.trained.evaluate(network, seed=seed)
'''


class Two:
    """A source of two pieces of work."""

    def __init__(self, network):
        self.left = [EvaluationJob(number=n, network=network, seed=0) for n in range(2)]
        self.outcomes = []

    def next(self):
        return self.left.pop() if self.left else None

    def record(self, work, outcome, seconds):
        self.outcomes.append(outcome)

    @property
    def finished(self):
        return len(self.outcomes) == 2


@pytest.mark.full
def test_workers_see_one_copy_of_the_images_that_nobody_can_write(tmp_path):
    from mnas_search.experiments.runners.ray_tune import run_on_ray

    labels = np.arange(1000) % 2
    file = npz(tmp_path / "x.npz", images=noise(1000, 8, 8), labels=labels)
    code = tmp_path / "views.py"
    code.write_text(VIEWS)
    trained = ProxyTraining(data=str(file), proxy="epochs=1,width=0.125,batch_size=64")
    space = plugins.load("search_spaces", "efficientnet")()
    network = space.decode({d.name: d.options[0] for d in space.decisions})
    source = Two(network)
    run_on_ray(source, plugins.load("evaluators", f"{code}:Views")(trained), workers=2)
    here, _ = measure(trained, EvaluationJob(number=0, network=network, seed=0))
    assert source.outcomes == [here, here]


def test_training_does_not_mind_arrays_that_nobody_can_write():
    split = digits().validation
    images, labels = split.images.copy(), split.labels.copy()
    images.flags.writeable = labels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for resolution in (8, 6):
            loop.Images(
                Split(images=images, labels=labels),
                resolution=resolution,
                normalisation=loop.normalisation(split),
                flips=False,
            )
