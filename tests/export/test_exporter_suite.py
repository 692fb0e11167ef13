"""The exporters' conformance suite: it passes a format that keeps its word, and no other."""

import os

import pytest
import torch

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.export.base import Exporter
from mnas_search.export.weights import build_with_weights
from mnas_search.networks import build
from mnas_search.testing import ExporterContract


class Honest(Exporter):
    """`weights.pt`, of networks without squeeze-and-excitation."""

    def export(self, architecture, weights, path):
        for index, stage in enumerate(architecture.stages):
            if stage.se_ratio:
                raise InvalidArchitecture(f"stage {index} squeezes; allowed: se_ratio 0")
        torch.save(build_with_weights(architecture, weights).state_dict(), path / "weights.pt")
        return (path / "weights.pt",)


class HonestSuite(ExporterContract):
    architecture = Architecture.from_block_string("ds_r1_k3_s2_c16", resolution=32, num_classes=3)
    inexpressible = (Architecture.from_block_string("ds_r1_k3_s1_c16 ds_r1_k3_s1_c16_se0.25"), 1)
    epsilon = architecture.bn_eps

    def logits(self, folder, images):
        network = build(self.architecture)
        network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = self.epsilon
        return network.eval()(images)


class TestHonest(HonestSuite):
    @pytest.fixture
    def exporter(self):
        return Honest()


class Forgetful(Honest):
    def export(self, architecture, weights, path):
        return super().export(architecture, None, path)


class Untidy(Honest):
    def export(self, architecture, weights, path):
        (path / "log.txt").write_text("written")
        return super().export(architecture, weights, path)


class Elsewhere(Honest):
    def export(self, architecture, weights, path):
        (path.parent / "log.txt").write_text("written")
        return super().export(architecture, weights, path)


class Hollow(Honest):
    def export(self, architecture, weights, path):
        files = super().export(architecture, weights, path)
        (path / "empty").touch()
        return (*files, path / "empty")


class Promising(Honest):
    def export(self, architecture, weights, path):
        return (*super().export(architecture, weights, path), path / "never")


class Dated(Honest):
    def export(self, architecture, weights, path):
        (path / "id").write_bytes(os.urandom(8))
        return (*super().export(architecture, weights, path), path / "id")


class Changing(Honest):
    def export(self, architecture, weights, path):
        if weights is not None:
            weights["classifier.bias"] += 1
        return super().export(architecture, weights, path)


class Accepting(Honest):
    def export(self, architecture, weights, path):
        network = build(architecture)
        network.load_state_dict(weights or {}, strict=False)
        torch.save(network.state_dict(), path / "weights.pt")
        return (path / "weights.pt",)


class Vague(Honest):
    def export(self, architecture, weights, path):
        try:
            return super().export(architecture, weights, path)
        except InvalidArchitecture:
            raise InvalidArchitecture("no squeeze-and-excitation") from None


class Late(Honest):
    def export(self, architecture, weights, path):
        (path / "half").write_text("half")
        return super().export(architecture, weights, path)


class Roomless(Honest):
    takes_weights = False


class Silent(Honest):
    def about(self, origin):
        return None


class Wordy(Honest):
    def caveats(self):
        return ("one\ntwo",)


UNTRAINED, TAKEN = "test_an_untrained_network", "test_weights_given_are_taken"
FIT, CANNOT = "test_weights_that_do_not_fit", "test_what_cannot_be_expressed"


@pytest.mark.parametrize(
    "cls, test, says",
    [
        (Forgetful, TAKEN, "two networks' weights give the same files"),
        (Untidy, UNTRAINED, "in the folder lie"),
        (Elsewhere, UNTRAINED, "beside the folder"),
        (Hollow, UNTRAINED, "empty: .*'empty'"),
        (Promising, UNTRAINED, "never"),
        (Dated, UNTRAINED, r"\['id'\] differ between two exports"),
        (Accepting, UNTRAINED, r"\['weights.pt'\] differ"),
        (Changing, TAKEN, "'classifier.bias' was changed"),
        (Vague, CANNOT, "does not name stage 1"),
        (Late, CANNOT, "left behind"),
        (Late, FIT, "left behind"),
    ],
)
def test_what_the_suite_finds(cls, test, says, tmp_path):
    with pytest.raises(AssertionError, match=says):
        getattr(HonestSuite(), test)(cls(), tmp_path)


@pytest.mark.parametrize("cls", [Accepting, Roomless])
def test_weights_that_nobody_refuses(cls, tmp_path):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        HonestSuite().test_weights_that_do_not_fit(cls(), tmp_path)


def test_words_that_are_none():
    with pytest.raises(AssertionError):
        HonestSuite().test_about(Silent())
    with pytest.raises(AssertionError):
        HonestSuite().test_caveats(Wordy())


def test_outputs_that_differ(tmp_path):
    suite = HonestSuite()
    suite.epsilon *= 1.01
    with pytest.raises(AssertionError, match="outputs differ by"):
        suite.test_weights_given_are_taken(Honest(), tmp_path)


def test_what_may_be_overridden(tmp_path):
    """A format that holds a time; one that nobody runs; one that expresses every network."""
    suite = ExporterContract()
    suite.architecture = HonestSuite.architecture
    suite.test_weights_given_are_taken(Honest(), tmp_path)
    suite.reproducible = False
    (tmp_path / "dated").mkdir()
    suite.test_an_untrained_network(Dated(), tmp_path / "dated")
    with pytest.raises(pytest.skip.Exception, match="expresses every network"):
        suite.test_what_cannot_be_expressed(Honest(), tmp_path)
