"""Narrow proxies keep the choices of a space apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SPACES, codes

from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.space.choices import Decision, decode
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.training.proxy import check_distinct, proxy_architecture
from mnas_search.training.recipe import proxy_recipe

RECIPES = [proxy_recipe(8, 1_000), proxy_recipe(32, 1_000).override("width=0.125")]


def layers(architecture):
    """All layers, stage by stage."""
    whole = plan(architecture)
    return whole.stem, whole.stages, whole.head


def assert_distinct(space, codes, recipe):
    """Every network that differs from that of `codes` in one decision has another proxy."""
    proxies = {}
    for index, decision in enumerate(space.decisions):
        for option in range(len(decision.options)):
            changed = np.array(codes)
            changed[index] = option
            network = space.decode(decode(space.decisions, changed))
            proxy = proxy_architecture(
                network,
                width=recipe.width,
                resolution=recipe.resolution,
                num_classes=10,
                divisor=recipe.divisor,
            )
            assert proxies.setdefault(layers(proxy), layers(network)) == layers(network)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=8)
@given(st.data())
def test_different_networks_have_different_proxies(name, data):
    space, recipe = SPACES[name], data.draw(st.sampled_from(RECIPES))
    assert_distinct(space, data.draw(codes(space)), recipe)


def test_coarser_widths_would_not_keep_them_apart():
    with pytest.raises(AssertionError):
        assert_distinct(SPACES["mnasnet"], [0] * 42, RECIPES[1].override("divisor=4"))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_default_proxies_rank_every_space(name, recipe):
    check_distinct(SPACES[name], width=recipe.width, divisor=recipe.divisor)


@pytest.mark.parametrize(
    ("name", "proxy", "why"),
    [
        (
            "mnasnet",
            "divisor=4",
            "block1.filter_ratio apart, got width=0.25,divisor=4, at which ",
        ),
        ("mnasnet", "width=0.1", "block1.filter_ratio apart, got width=0.1,divisor=1, at which "),
        ("efficientnet", "width=0.06", "stage1.expansion apart, got width=0.06,divisor=1, at "),
    ],
)
def test_a_proxy_that_cannot_tell_two_options_apart_is_refused(name, proxy, why):
    evaluator = ProxyTraining(proxy=proxy)
    with pytest.raises(UsageError, match=f"proxy width must keep the options of {why}"):
        evaluator.check_space(SPACES[name])


def test_options_that_are_one_network_at_full_width_may_be_one_proxy():
    class Space(SearchSpace):
        @property
        def decisions(self):
            return (Decision(name="skip", options=("none", "identity")),)

        def decode(self, choices):
            word = {"none": "_noskip", "identity": ""}[choices["skip"]]
            return Architecture.from_block_string(f"ds_r1_k3_s2_c16{word}")

    check_distinct(Space(), width=0.125, divisor=1)


@pytest.mark.parametrize("command", [("run", "--target-flops", "400M"), ("fidelity",)])
def test_commands_refuse_it_in_one_line(command, tmp_path, run_cli):
    more = ("--space", "mnasnet", "--data", "digits", "--proxy", "divisor=4")
    code, out, err = run_cli(*command, *more, "--output", tmp_path / "folder")
    assert (code, out) == (2, "")
    assert err.startswith("error: proxy width must keep the options of block1.filter_ratio apart")
    assert err.count("\n") == 1
    assert not (tmp_path / "folder").exists()
