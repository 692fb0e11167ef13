"""Which network a run recommends, and its file."""

from dataclasses import dataclass, replace

import pytest

from mnas_search import reference
from mnas_search.common.errors import RunFolderError
from mnas_search.experiments.search.recommendation import (
    FILE,
    Recommendation,
    read_recommended,
    recommend,
    write_recommended,
)

B0 = reference.architecture("efficientnet_b0")


@dataclass(frozen=True, kw_only=True)
class Network:
    name: str
    mean: float
    macs: int
    weights: str | None = None

    @property
    def validation(self):
        return (self.mean - 0.01, self.mean, self.mean + 0.01)


def chosen(*networks):
    return recommend(networks, 0.015).name


def test_within_the_interval_of_the_best_the_cheapest_is_recommended():
    winner = Network(name="winner", mean=0.60, macs=90)
    assert chosen(winner, Network(name="b0", mean=0.586, macs=80)) == "b0"
    assert chosen(winner, Network(name="b0", mean=0.58, macs=80)) == "winner"
    assert chosen(winner, Network(name="b0", mean=0.60, macs=99)) == "winner"
    cheap, cheaper = (Network(name=str(m), mean=0.59, macs=m) for m in (70, 60))
    assert chosen(winner, cheap, cheaper) == "60"


def test_pretrained_networks_come_first_where_they_are_as_good():
    winner = Network(name="winner", mean=0.60, macs=90)
    pretrained = Network(name="pretrained", mean=0.59, macs=100, weights="package:lite0")
    assert chosen(winner, pretrained) == "pretrained"
    assert chosen(winner, replace(pretrained, mean=0.5)) == "winner"


@pytest.mark.parametrize(
    "found",
    [
        Recommendation(name="100M-1", source="winner", architecture=None),
        Recommendation(
            name="efficientnet_b0 x0.44",
            source="baseline",
            architecture=B0,
            validation=0.61,
            test=0.6,
            interval=(0.58, 0.62),
            weights="package:lite0",
        ),
    ],
)
def test_what_is_written_is_read_again(tmp_path, found):
    write_recommended(found, tmp_path)
    assert read_recommended(tmp_path) == found


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"architecture": {"stages": 1}}', "\\x00"])
def test_files_that_hold_no_recommendation(tmp_path, text):
    with pytest.raises(RunFolderError, match=r"has no recommended\.json"):
        read_recommended(tmp_path)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(RunFolderError, match="holds no recommendation"):
        read_recommended(tmp_path)
