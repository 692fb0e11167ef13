"""The data sets that EfficientNet was transferred to (its Table 5), as facts.

Numbers of classes and images as in Table 6 of arXiv:1905.11946, but for Oxford-IIIT Pets, whose
own lists, annotations/trainval.txt and test.txt, hold 3,680 and 3,669 images (the table says
3,369). Flowers' training images are those of its own training and validation splits together.
None of them is embedded, and none is downloaded: their licences are between you and their makers.
"""

from dataclasses import dataclass

_BINARY = "the binary version, as the archive or unpacked"
_FOLDERS = "train/CLASS/IMAGE and test/CLASS/IMAGE, by the data's own lists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A well-known data set.

    Attributes:
        title: its own name.
        classes, train, test: how many classes and images it has.
        source: where it is to be got.
        layout: what `--data` expects.
    """

    title: str
    classes: int
    train: int
    test: int
    source: str
    layout: str = _FOLDERS


PRESETS = {
    "cifar10": Preset(
        title="CIFAR-10",
        classes=10,
        train=50_000,
        test=10_000,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        layout=_BINARY,
    ),
    "cifar100": Preset(
        title="CIFAR-100",
        classes=100,
        train=50_000,
        test=10_000,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        layout=_BINARY,
    ),
    "birdsnap": Preset(
        title="Birdsnap",
        classes=500,
        train=47_386,
        test=2_443,
        source="https://thomasberg.org",
    ),
    "stanford_cars": Preset(
        title="Stanford Cars",
        classes=196,
        train=8_144,
        test=8_041,
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    ),
    "flowers102": Preset(
        title="Flowers-102",
        classes=102,
        train=2_040,
        test=6_149,
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    ),
    "fgvc_aircraft": Preset(
        title="FGVC Aircraft",
        classes=100,
        train=6_667,
        test=3_333,
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    ),
    "oxford_pets": Preset(
        title="Oxford-IIIT Pets",
        classes=37,
        train=3_680,
        test=3_669,
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    ),
    "food101": Preset(
        title="Food-101",
        classes=101,
        train=75_750,
        test=25_250,
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    ),
}
