"""Well-known data sets that users download themselves: what `--data` expects of each."""

from typing import NamedTuple

_BINARY = "the binary version, as the archive or unpacked"
_FOLDERS = "train/CLASS/IMAGE and test/CLASS/IMAGE, split by the data set's own lists"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data"


class Preset(NamedTuple):
    """A well-known data set: its title, its sizes, its download page and the expected layout."""

    title: str
    classes: int
    train: int
    test: int
    source: str
    layout: str = _FOLDERS


_CARS = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
_FOOD = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
PRESETS = {
    "cifar10": Preset("CIFAR-10", 10, 50_000, 10_000, _CIFAR, _BINARY),
    "cifar100": Preset("CIFAR-100", 100, 50_000, 10_000, _CIFAR, _BINARY),
    "birdsnap": Preset("Birdsnap", 500, 47_386, 2_443, "https://thomasberg.org"),
    "stanford_cars": Preset("Stanford Cars", 196, 8_144, 8_041, _CARS),
    "flowers102": Preset("Flowers-102", 102, 2_040, 6_149, f"{_VGG}/flowers/102/"),
    "fgvc_aircraft": Preset("FGVC Aircraft", 100, 6_667, 3_333, f"{_VGG}/fgvc-aircraft/"),
    "oxford_pets": Preset("Oxford-IIIT Pets", 37, 3_680, 3_669, f"{_VGG}/pets/"),
    "food101": Preset("Food-101", 101, 75_750, 25_250, _FOOD),
}
