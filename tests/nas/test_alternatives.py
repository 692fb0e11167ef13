"""What the networks of a space consist of."""

from dataclasses import replace

import numpy as np
import pytest
from listed_spaces import every, random_space

from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.alternatives import alternatives
from mnas_search.nas.space.choices import Decision, decode, sample_codes
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.testing.toy import ToySpace


class Plain(SearchSpace):
    """A space without stages of its own: a width for all, a kernel that acts in wide networks
    only, depth, and a stem."""

    decisions = (
        Decision(name="width", options=(8, 16, 24)),
        Decision(name="kernel", options=(3, 5)),
        Decision(name="last", options=(1, 2)),
        Decision(name="stem", options=(8, 16)),
    )

    def decode(self, choices):
        kernel = choices["kernel"] if choices["width"] == 24 else 3
        text = f"ds_r1_k{kernel}_s1_c{choices['width']} cn_r{choices['last']}_k3_s2_c16"
        return Architecture.from_block_string(
            text, resolution=16, num_classes=4, stem=Stem(channels=choices["stem"])
        )


class Mapped(SearchSpace):
    """The plain space with other networks."""

    def __init__(self, change):
        self.change = change

    decisions = Plain.decisions

    def decode(self, choices):
        return self.change(Plain().decode(choices), choices)


def everything(space):
    networks = [space.decode(decode(space.decisions, code)) for code in every(space)]
    stages = [{network.stages[i] for network in networks} for i in range(len(networks[0].stages))]
    return stages, {replace(n, stages=networks[0].stages) for n in networks}


@pytest.mark.parametrize("space", [Plain(), ToySpace(), random_space(0)])
def test_every_stage_and_template_that_occurs_is_found(space):
    found = alternatives(space)
    stages, templates = everything(space)
    assert [set(own) for own in found.stages] == stages
    assert [len(own) for own in found.stages] == [len(own) for own in stages]
    assert {replace(t, stages=(found.stages[0][0],)) for t in found.templates} == {
        replace(t, stages=(found.stages[0][0],)) for t in templates
    }


def test_networks_are_changed_first():
    found = alternatives(ToySpace(), lambda network: replace(network, resolution=16))
    assert {template.resolution for template in found.templates} == {16}


def test_more_networks_cost_no_more():
    """A space of 1e11 networks is listed stage by stage."""
    from strategies import SPACES

    space = SPACES["efficientnet"]
    found = alternatives(space)
    assert [len(own) for own in found.stages] == [36, 36, 36, 36, 36, 48, 36]
    for code in sample_codes(space.decisions, 20, np.random.default_rng(0)):
        network = space.decode(decode(space.decisions, code))
        assert all(s in own for s, own in zip(network.stages, found.stages, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda network, c: replace(network, stages=network.stages[: c["last"]]),
            "one number of stages, got 1 and 2",
        ),
        (
            lambda network, c: replace(network, resolution=16 * c["last"]),
            "one resolution, got 16 and 32",
        ),
    ],
)
def test_networks_that_share_too_little_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        alternatives(Mapped(change))
