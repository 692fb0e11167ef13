"""Folders as users have them: what is read as a split, as a class, or not at all."""

import logging
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mnas_search.common.errors import UsageError
from mnas_search.data import assemble, load
from mnas_search.data.layout import split_name
from mnas_search.data.loading import own_resolution
from tests.data.test_data import hub, refused, rows  # noqa: F401


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MNAS_SEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))


class Photos:
    """Writes images each of which has a colour of its own."""

    def __init__(self):
        self.number = 0

    def __call__(self, folder, count=2):
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            self.number += 1
            colour = (self.number % 256, self.number // 256, 7)
            Image.new("RGB", (4, 4), colour).save(folder / f"{self.number:04}.png")
        return folder


@pytest.fixture
def photos():
    return Photos()


def write(root, layout, photos):
    """Folders from a mapping of paths to numbers of images."""
    for path, count in layout.items():
        photos(root / path, count)
    return root


def sizes(dataset):
    """Numbers of images by split and class."""
    return {
        name: {
            dataset.class_names[k]: int(n)
            for k, n in enumerate(np.bincount(getattr(dataset, name).labels))
            if n
        }
        for name in ("train", "validation", "test")
    }


def splits_of(folders, classes=("cat", "dog")):
    return {f"{folder}/{name}": n for folder, n in folders.items() for name in classes}


READ = {
    "Kaggle's emotions": {"Training": 5, "Testing": 3},
    "Kaggle's cats and dogs": {"training_set": 5, "test_set": 3},
    "images": {"train_images": 5, "test_images": 3},
    "in a folder of its own name": {"seg_train/seg_train": 5, "seg_test/seg_test": 3},
    "in folders": {"train/images": 5, "test/images": 3},
    "numbers": {"train2017": 5, "test2017": 3},
    "camels": {"TrainSet": 5, "TestSet": 3},
    "with a name before": {"animals-train": 5, "animals-test": 3},
    "training and validation": {"trainval": 5, "test": 3},
}


@pytest.mark.parametrize("folders", READ.values(), ids=READ.keys())
def test_folders_that_are_splits_by_their_names(tmp_path, photos, folders):
    dataset = load(str(write(tmp_path / "x", splits_of(folders), photos)), side=4)
    assert sizes(dataset) == {
        "train": {"cat": 4, "dog": 4},
        "validation": {"cat": 1, "dog": 1},
        "test": {"cat": 3, "dog": 3},
    }
    train, test = (folder.split("/")[0] for folder in folders)
    if train != "train":
        note = f"folders are read as splits: {test}/ as test, {train}/ as train"
        assert sorted(note.split(": ")[1].split(", ")) == sorted(
            dataset.notes[0].split(": ")[1].split(", ")
        )


@pytest.mark.parametrize(
    ("folders", "validation", "test"),
    [
        ({"training": 5, "validation": 2, "evaluation": 3}, 2, 3),  # Food-11
        ({"train": 5, "eval": 2, "test": 3}, 2, 3),
        ({"train": 5, "dev": 2, "eval": 3}, 2, 3),
        ({"Train": 5, "VALID": 2, "Test": 3}, 2, 3),
    ],
)
def test_validation_and_evaluation(tmp_path, photos, folders, validation, test):
    dataset = load(str(write(tmp_path / "x", splits_of(folders), photos)), side=4)
    assert sizes(dataset)["validation"] == {"cat": validation, "dog": validation}
    assert sizes(dataset)["test"] == {"cat": test, "dog": test}


def test_paths_are_data(tmp_path, photos):
    root = write(tmp_path / "x", {"cat": 5, "dog": 5}, photos)
    assert load(root, side=4).sha256 == load(str(root), side=4).sha256
    assert own_resolution(root) == own_resolution(str(root)) == 32


def test_words_of_splits_in_names_of_classes(tmp_path, photos):
    """One that holds images is a class beside others, as is one whose folders have no partner."""
    flat = write(tmp_path / "flat", {"train": 3, "plane": 3, "test": 3}, photos)
    assert load(str(flat), side=4).class_names == ("plane", "test", "train")
    deep = {"bullet train/japan": 3, "crash test/front": 3, "car/red": 3}
    dataset = load(str(write(tmp_path / "deep", deep, photos)), side=4)
    assert dataset.class_names == ("bullet train", "car", "crash test")
    assert "9 images lie in subfolders of their class folder" in dataset.notes
    assert split_name("trainer") is split_name("valley") is split_name("contest") is None
    assert split_name("test_or_train") is None


REFUSED = {
    "no classes": ({"Training": 3, "Testing": 3}, "without class folders in Testing/ and Train"),
    "a class or a split": (
        {"train/steam": 3, "train/electric": 3, "plane/jet": 3, "plane/glider": 3},
        "got both: train/ is named like a split, plane/ is not, and both hold folders of images",
    ),
    "two of one": (
        splits_of({"train": 3, "training_set": 3, "test": 3}),
        "must have one folder for train, got train/ and training_set/",
    ),
    "nothing to train on": (splits_of({"Testing": 3, "dev": 3}), "requires train/"),
    "splits in classes": (
        {"cat/train": 3, "cat/test": 3, "dog/train": 3, "dog/test": 3},
        "got splits below cat/ (test/, train/)",
    ),
    "a folder too many": (splits_of({"pets/train": 3, "pets/test": 3}), "/x/pets' may be meant"),
    "other spelling": (
        {"train/Cat": 3, "train/Dog": 3, "val/cat": 3, "val/dog": 3},
        "validation of data 'x' must have only classes of train (Cat, Dog), got cat, dog",
    ),
    "one more class": (
        {"train/cat": 3, "train/dog": 3, "test/cat": 3, "test/cow": 3},
        "test of data 'x' must have only classes of train (cat, dog), got cow",
    ),
}


@pytest.mark.parametrize(("layout", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_layouts_that_can_be_read_in_several_ways(tmp_path, photos, layout, message):
    refused(write(tmp_path / "x", layout, photos), message)


def test_what_programs_leave_is_passed_over_and_counted(tmp_path, photos):
    root = write(tmp_path / "x", splits_of({"train": 5, "val": 2, "test": 3}), photos)
    for folder in ("@eaDir", "__MACOSX", ".ipynb_checkpoints", "$RECYCLE.BIN"):
        photos(root / folder / "cat")
        photos(root / "train" / folder)
        photos(root / "train" / "cat" / folder)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0001.png"):
        (root / "test" / "dog" / name).write_bytes(b"x")
    dataset = load(str(root), side=4)
    assert sizes(dataset)["train"] == {"cat": 5, "dog": 5}
    (note,) = dataset.notes
    assert note.startswith("16 hidden or service files and folders are passed over: ")
    assert "@eaDir" in note and "__MACOSX" in note


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path, photos):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    layout = {f"train/{composed}": 4, "train/tea": 4, f"test/{decomposed}": 2, "test/tea": 2}
    dataset = load(str(write(tmp_path / "x", layout, photos)), side=4)
    assert dataset.class_names == (composed, "tea")
    assert sizes(dataset)["test"] == {composed: 2, "tea": 2}
    photos(tmp_path / "x" / "train" / decomposed, 1)
    dataset = load(str(tmp_path / "x"), side=4)
    assert sizes(dataset)["train"][composed] == 4  # of five, one for validation
    assert f"in their Unicode form are read as one class: {composed}" in dataset.notes[0]


def test_classes_that_differ_in_case_are_said(tmp_path, photos):
    root = write(tmp_path / "x", {"Cat": 4, "cat": 4, "dog": 4}, photos)
    assert load(str(root), side=4).notes == (
        "classes differ only in upper and lower case: Cat, cat",
    )


def test_a_class_of_files_that_are_not_read_is_said(tmp_path, photos):
    root = write(tmp_path / "x", {"cat": 4, "dog": 4, "cow": 0}, photos)
    for number in range(3):
        (root / "cow" / f"{number}.heic").write_bytes(b"x")
    assert load(str(root), side=4).notes == (
        "1 folders without images: cow",
        "3 files are not images by their names and are skipped: .heic",
    )


def test_images_of_train_in_other_splits_are_said(tmp_path, photos):
    root = write(tmp_path / "x", splits_of({"train": 5, "val": 2, "test": 3}), photos)
    for file in (root / "train" / "cat").iterdir():
        (root / "test" / "cat" / f"link-{file.name}").symlink_to(file)
    assert load(str(root), side=4).notes == (
        "5 of 11 images of test are also in train: accuracy on test is overestimated",
    )


@pytest.mark.parametrize(("largest", "said"), [(4095, True), (1023, True), (65535, False)])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_twelve_bits_in_sixteen_are_said(tmp_path, largest, said, suffix):
    for called in "ab":
        folder = tmp_path / "x" / called
        folder.mkdir(parents=True)
        for number in range(3):
            values = np.full((4, 4), largest - 50 * number, np.uint16)
            Image.fromarray(values).save(folder / f"{called}{number}.{suffix}")
    notes = [n for n in load(str(tmp_path / "x"), side=4).notes if "16 bits" in n]
    assert len(notes) == said
    if said:
        assert notes[0].startswith("6 images have 16 bits per channel but no value above about")


def test_a_truncated_jpeg_is_named(tmp_path, photos):
    root = write(tmp_path / "x", {"cat": 4, "dog": 4}, photos)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = tmp_path / "whole.jpg"
    Image.fromarray(noise).save(whole)
    (root / "cat" / "cut.jpg").write_bytes(whole.read_bytes()[:2000])
    (note,) = load(str(root), side=4).notes
    assert note.startswith(
        "1 of 9 images of data 'x' cannot be read and were skipped: cat/cut.jpg"
    )


# --- arrays and data sets of the user's


def test_labels_of_arrays_are_checked_before_they_are_cast():
    images = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)

    def refuses(message, labels, split="train"):
        with pytest.raises(UsageError, match=message):
            assemble("x", {split: (images, np.array(labels))})

    large = np.array([0, 1, 0, 2**63], np.uint64)
    refuses("0 or more and below its 4 images, got 9223372036854775808", large)
    refuses("0 or more and below its 4 images, got -1", [0, 1, 0, -1])
    refuses("labels of data 'x' must be integers, got float64", [0, 1, 0, 0.5])
    refuses("splits of data 'x' must be train, validation or test, got 'val'", [0], "val")


def test_a_data_set_of_the_users_is_held_to_the_same(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from mnas_search import Dataset, Split\n"
        "def split(*labels):\n"
        "    images = np.zeros((len(labels), 4, 4, 3), np.uint8)\n"
        "    return Split(images=images, labels=np.array(labels))\n"
        "def odd():\n"
        "    return Dataset(name='odd', num_classes=3, train=split(0, 1), validation=split(2),\n"
        "                   test=split(0))\n"
    )
    refused(f"{tmp_path / 'mine.py'}:odd", "must have only classes of train (0, 1), got 2")


# --- Hugging Face


def test_hugging_face_splits_and_classes_by_name(hub, tmp_path):  # noqa: F811
    train, test = rows(hub, [5, 10]), rows(hub, [1, 2])
    turned = hub.ClassLabel(names=["class 1", "class 0"])
    features = test.features.copy()
    features["kind"] = turned
    images = [row["picture"] for row in test]
    kinds = [1 - row["kind"] for row in test]  # the same classes, in another order
    test = hub.Dataset.from_dict({"picture": images, "kind": kinds}, features=features)
    hub.DatasetDict(training=train, testing=test).save_to_disk(str(tmp_path / "saved"))
    dataset = load(f"hf:{tmp_path / 'saved'}", side=4)
    assert dataset.class_names == ("class 0", "class 1")
    assert sizes(dataset)["test"] == {"class 0": 1, "class 1": 2}
    assert dataset.notes[:2] == (
        "the split 'training' is read as train",
        "the split 'testing' is read as test",
    )
    features["kind"] = hub.ClassLabel(names=["class 1", "other"])
    test = hub.Dataset.from_dict({"picture": images, "kind": kinds}, features=features)
    hub.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "other"))
    refused(f"hf:{tmp_path / 'other'}", "must have only classes of train (class 0, class 1), got")


# --- over all layouts

WORDS = {
    "train": ("train", "training", "trainval"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


@st.composite
def names(draw, split):
    """A name of a split: a word, perhaps with fillers, in any case."""
    word = draw(st.sampled_from(WORDS[split]))
    joint = draw(st.sampled_from("_- ."))
    filler = draw(st.sampled_from(["", "set", "images", "data", "2017"]))
    name = joint.join(filter(None, (word, filler)))
    return draw(st.sampled_from([str.lower, str.upper, str.title]))(name)


@st.composite
def layouts(draw):
    """(names of splits, class names, wrapped, clutter) of a data set."""
    splits = {"train": draw(names("train"))}
    for split in draw(st.sampled_from([("test",), ("validation",), ("validation", "test")])):
        splits[split] = draw(names(split))
    called = st.text("abcdXYZ é0123_-", min_size=1, max_size=6).map(str.strip).filter(bool)
    classes = draw(st.lists(called, min_size=2, max_size=4, unique_by=str.casefold))
    clutter = draw(st.lists(st.sampled_from(["@eaDir", "__MACOSX", ".cache"]), max_size=2))
    return splits, classes, draw(st.booleans()), clutter


@settings(max_examples=30, deadline=None)
@given(layouts())
@example(({"train": "Training", "test": "Testing"}, ["a", "b"], False, []))
@example(({"train": "seg_train", "test": "seg_test"}, ["a", "b"], True, ["@eaDir"]))
def test_splits_are_never_read_as_classes(found):
    splits, classes, wrapped, clutter = found
    photos = Photos()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "x"
        for split, name in splits.items():
            above = root / name / name if wrapped else root / name
            for called in classes:
                photos(above / called, 6 if split == "train" else 2)
            for called in clutter:
                photos(above / called, 1)
        logging.disable(logging.WARNING)
        try:
            dataset = load(str(root), side=4)
        finally:
            logging.disable(logging.NOTSET)
    assert set(dataset.class_names) == {unicodedata.normalize("NFC", c) for c in classes}
    for split in ("validation", "test"):
        count = 2 if split in splits else 1  # cut from train
        assert set(sizes(dataset)[split].values()) == {count}
    assert sum(sizes(dataset)["train"].values()) == len(classes) * (6 - (len(splits) < 3))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["train", "Test", "val_set", "cat", "seg_train", "eval", "a/train", "x"]),
        st.dictionaries(
            st.sampled_from(["", "cat", "dog", "test"]), st.integers(1, 3), max_size=3
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_folder_is_a_data_set_or_one_line(layout):
    photos = Photos()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        for above, inside in layout.items():
            for called, count in inside.items():
                photos(root / above / called, count)
        logging.disable(logging.WARNING)
        try:
            dataset = load(str(root), side=4)
        except UsageError as error:
            assert "\n" not in str(error)
            return
        finally:
            logging.disable(logging.NOTSET)
    trained = set(dataset.train.labels.tolist())
    assert trained >= {*dataset.validation.labels.tolist(), *dataset.test.labels.tolist()}
    classes = [split_name(called) for called in dataset.class_names]
    assert not all(called is not None and called.plain for called in classes)
