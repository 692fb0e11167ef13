"""What every exporter must do.

An exporter is given a small network with weights as no initialisation leaves them: scales and
shifts are random and batch-norm statistics those of images, so that anything lost on the way,
a layer's epsilon or a shortcut, shows in the outputs.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.export.base import Exporter, Origin

if TYPE_CHECKING:
    from torch import Tensor, nn


class ExporterContract:
    """What every exporter must do. Inherit it and give the fixture `exporter`.

    Attributes:
        architecture: a small network that the format can express.
        inexpressible: one that it cannot, and the index of the stage that is at fault; None where
            it can express every network.
        reproducible: whether exporting a network twice writes the same bytes; False where the
            format holds a time or a random name.
        tolerance: how far `logits` may be from the network's, as a fraction of the largest.
    """

    architecture: Architecture = Architecture.from_block_string(
        "ds_r1_k3_s1_e1_c16 ir_r2_k5_s2_e4_c24_se0.25",
        resolution=32,
        num_classes=7,
        head_channels=32,
        stem=Stem(channels=8),
    )
    inexpressible: tuple[Architecture, int] | None = None
    reproducible = True
    tolerance = 1e-5

    @pytest.fixture
    def exporter(self) -> Exporter:
        """Return the exporter; to be overridden."""
        raise NotImplementedError("give a fixture `exporter`")

    def logits(self, folder: Path, images: "Tensor") -> "Tensor | None":
        """Return logits [N, classes] of the files in the folder for images [N, 3, R, R], computed
        by the program they are written for; to be overridden. None: they are not run."""
        del folder, images
        return None

    def test_an_untrained_network(self, exporter: Exporter, tmp_path: Path) -> None:
        """Whole files and nothing beside them, the same from one export to the next."""
        one = _exported(exporter, self.architecture, None, tmp_path / "one")
        two = _exported(exporter, self.architecture, None, tmp_path / "two")
        assert one.keys() == two.keys()
        if self.reproducible:
            changed = [name for name, content in one.items() if content != two[name]]
            assert not changed, (
                f"{changed} differ between two exports of one network; `reproducible = False` for "
                "a format that holds a time or a random name"
            )

    def test_weights_given_are_taken(self, exporter: Exporter, tmp_path: Path) -> None:
        """Other weights give other files; the outputs are the network's for any origin."""
        if not exporter.takes_weights:
            pytest.skip("has no room for weights")
        import torch

        network, images = _random_network(self.architecture, seed=2)
        given = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        named = replace(self.architecture, name='a """ b\' {0}\\')
        about = exporter.about(_origin(named))
        files = _exported(about, named, given, tmp_path / "one")
        for name, tensor in network.state_dict().items():
            assert torch.equal(given[name], tensor), f"the caller's {name!r} was changed"
        other, _ = _random_network(self.architecture, seed=3)
        others = _exported(about, named, dict(other.state_dict()), tmp_path / "two")
        assert files != others, "two networks' weights give the same files"
        with torch.no_grad():
            expected, got = network(images), self.logits(tmp_path / "one", images)
        if got is None:
            return
        assert got.shape == expected.shape
        largest = float(expected.abs().max())
        difference = float((got - expected).abs().max())
        assert difference <= self.tolerance * largest, (
            f"outputs differ by {difference:g}, the network's reach {largest:g}"
        )

    def test_weights_that_do_not_fit(self, exporter: Exporter, tmp_path: Path) -> None:
        """Are refused by name where one is missing, and all where there is no room for any."""
        network, _ = _random_network(self.architecture, seed=2)
        given = dict(network.state_dict())
        missing = next(iter(given))
        if exporter.takes_weights:
            del given[missing]
        with pytest.raises(UsageError) as error:
            _exported(exporter, self.architecture, given, tmp_path / "out")
        _assert_refused(error.value, tmp_path)
        if exporter.takes_weights:
            assert missing in str(error.value)

    def test_what_cannot_be_expressed(self, exporter: Exporter, tmp_path: Path) -> None:
        """Is refused by the index of its stage, and no file is written."""
        if self.inexpressible is None:
            pytest.skip("expresses every network")
        architecture, stage = self.inexpressible
        with pytest.raises(InvalidArchitecture) as error:
            _exported(exporter, architecture, None, tmp_path / "out")
        _assert_refused(error.value, tmp_path)
        assert re.search(rf"\bstage {stage}\b", str(error.value)), (
            f"{str(error.value)!r} does not name stage {stage}"
        )

    def test_about(self, exporter: Exporter) -> None:
        """An exporter, with room for weights where this one has it."""
        for origin in (_origin(self.architecture), Origin(weights="untrained")):
            other = exporter.about(origin)
            assert isinstance(other, Exporter)
            assert other.takes_weights == exporter.takes_weights

    def test_caveats(self, exporter: Exporter) -> None:
        """Sentences, of one line each."""
        for caveats in (exporter.caveats(), exporter.about(Origin(weights="untrained")).caveats()):
            assert isinstance(caveats, tuple)
            for sentence in caveats:
                assert isinstance(sentence, str)
                assert sentence.strip()
                assert len(sentence.splitlines()) == 1


def _origin(architecture: Architecture) -> Origin:
    """Return an origin whose text must be escaped in files of any syntax."""
    return Origin(
        weights='trained on """\n{0}\\',
        facts=(("a 'fact' | <b>", "${x}\n---"),),
        class_names=tuple(f'"kind" {i}' for i in range(architecture.num_classes)),
        preprocessing=Preprocessing(
            mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), size=architecture.resolution
        ),
    )


def _exported(
    exporter: Exporter,
    architecture: Architecture,
    weights: "dict[str, Tensor] | None",
    folder: Path,
) -> dict[str, bytes]:
    """Check the files of an export and return them by their path in the folder."""
    folder.mkdir()
    around = set(folder.parent.iterdir())
    files = exporter.export(architecture, weights, folder)
    assert isinstance(files, tuple)
    assert files, "nothing was written"
    there = {path for path in folder.rglob("*") if not path.is_dir()}
    assert len(set(files)) == len(files), f"returned twice: {sorted(map(str, files))}"
    assert set(files) == there, (
        f"returned {sorted(map(str, files))}, in the folder lie {sorted(map(str, there))}"
    )
    assert set(folder.parent.iterdir()) == around, "something was written beside the folder"
    content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    assert all(content.values()), f"empty: {[name for name, c in content.items() if not c]}"
    return content


def _assert_refused(error: UsageError, around: Path) -> None:
    """Check that the error is one line and that the folder is unchanged."""
    assert len(str(error).splitlines()) == 1, str(error)
    left = [path for path in around.rglob("*") if not path.is_dir()]
    assert not left, f"{left} left behind"


def _random_network(architecture: Architecture, seed: int) -> "tuple[nn.Module, Tensor]":
    """Return a network in eval mode with random weights, and images [8, 3, R, R] whose statistics
    its batch norms hold."""
    import torch

    from mnas_search.export.comparison import randomise
    from mnas_search.networks import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(architecture).eval()
    generator = torch.Generator().manual_seed(seed)
    side = architecture.resolution
    images = torch.randn(8, 3, side, side, generator=generator)
    randomise(network, images, seed=seed)
    return network, images
