"""Parameter remapping: the same function wherever that can be, and what became of every tensor."""

import json
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import architectures

from mnas_search import reference
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.files import read_json
from mnas_search.networks import build
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights.remap import remap

SOURCE = Architecture.from_block_string(
    "ds_r1_k3_s1_e1_c8_se0.25 ir_r2_k3_s2_e3_c16_se0.25 ir_r2_k3_s1_e3_c16 er_r2_k3_s2_e2_c24 "
    "cn_r2_k3_s1_e1_c24_skip",
    stem=Stem(channels=8),
    head_channels=40,
    num_classes=5,
    resolution=24,
)


def randomised(architecture, seed=0):
    """A network none of whose tensors is near what it was initialised to, in single precision: a
    fresh one gives outputs close to zero, where any comparison passes."""
    generator = torch.Generator().manual_seed(seed)
    network = build(architecture)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.ndim == 1:  # scales, biases and batch-norm statistics
                value += 0.3 * torch.rand(value.shape, generator=generator) + 0.05
    return network.eval()


def outputs(architecture, state):
    """Logits of two images, in double precision."""
    network = build(architecture)
    network.load_state_dict(network.state_dict() | state)
    side = architecture.resolution
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return network.double().eval()(images.double())


def assert_same_function(source, target, state):
    expected = outputs(source, state)
    assert float(expected.abs().max()) > 1e-3
    found = remap(state, target)
    torch.testing.assert_close(outputs(target, found.weights), expected, rtol=1e-9, atol=1e-12)
    return found


def stages(architecture, **changes):
    """The architecture with fields of all stages changed, each by a function of the stage."""
    new = tuple(
        replace(s, **{name: change(s) for name, change in changes.items()})
        for s in architecture.stages
    )
    return replace(architecture, stages=new)


# -- the same function -------------------------------------------------------------------------

GROWN = {
    "itself": SOURCE,
    "kernels": stages(SOURCE, kernel=lambda s: s.kernel + 2),
    "kernel of the stem": replace(SOURCE, stem=Stem(channels=8, kernel=7)),
    "blocks": stages(SOURCE, repeats=lambda s: s.repeats + 2),
    "expansions": stages(SOURCE, expansion=lambda s: 1 if s.expansion == 1 else 2 * s.expansion),
    # Stem and first stage add to one stream: wider alone, either would lose the shortcut.
    "widths": replace(
        stages(SOURCE, out_channels=lambda s: s.out_channels + 8), stem=Stem(channels=16)
    ),
    "a stage": replace(SOURCE, stages=(*SOURCE.stages, SOURCE.stages[-1])),
    "head": replace(SOURCE, head_channels=64),
    "gates": stages(SOURCE, se_ratio=lambda s: s.se_ratio if s.kind == "cn" else 0.25),
    "wider gates": stages(SOURCE, se_ratio=lambda s: 2 * s.se_ratio),
}
GROWN["all"] = replace(
    stages(
        SOURCE,
        kernel=lambda s: s.kernel + 4,
        repeats=lambda s: s.repeats + 1,
        expansion=lambda s: 1 if s.expansion == 1 else s.expansion + 1,
        out_channels=lambda s: s.out_channels + 8,
        se_ratio=lambda s: 0 if s.kind == "cn" else 0.5,
    ),
    stem=Stem(channels=16, kernel=5),
    head_channels=48,
)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("grown", sorted(GROWN))
def test_a_grown_network_computes_the_same(grown, padding):
    source = replace(SOURCE, padding=padding)
    target = replace(GROWN[grown], padding=padding)
    found = assert_same_function(source, target, randomised(source).state_dict())
    assert not found.left
    assert not found.ways["cropped"] and not found.ways["selected"]
    if grown == "itself":
        assert set(found.ways["copied"]) == set(found.weights)
        assert found.text == f"{len(found.weights)} tensors, {len(found.weights)} copied; " + (
            "left over: nothing"
        )


@given(architectures(), st.randoms(use_true_random=False))
def test_any_network_grown_computes_the_same(source, drawn):
    def some_more(stage):
        widen = 4 * drawn.randrange(2)
        return replace(
            stage,
            kernel=stage.kernel + drawn.choice([0, 2]),
            expansion=stage.expansion if stage.expansion == 1 else stage.expansion + widen,
            # An added block computes the identity only where its shortcut is one.
            repeats=stage.repeats + (drawn.randrange(3) if stage.skip == "identity" else 0),
        )

    target = replace(source, stages=tuple(some_more(stage) for stage in source.stages))
    state = randomised(source, seed=drawn.randrange(100)).state_dict()
    # In double precision the logits of a random network may be small, but not a comparison's.
    expected = outputs(source, state)
    got = outputs(target, remap(state, target).weights)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-7 * float(expected.abs().max()))


def test_what_adds_nothing_learns_from_the_first_step():
    target = GROWN["all"]
    network = build(target)
    found = remap(randomised(SOURCE).state_dict(), target)
    network.load_state_dict(network.state_dict() | found.weights)
    network.train()(torch.randn(4, 3, 24, 24)).logsumexp(1).sum().backward()
    largest = {
        name: (float(p.detach().abs().max()), float(p.grad.abs().max()))
        for name, p in network.named_parameters()
    }
    for name in ("blocks.1.2.bn3.weight", "blocks.2.0.se.conv_expand.weight"):
        assert largest[name][0] == 0 < largest[name][1]
    # The columns of channels that were not there.
    old = SOURCE.stages[1].expansion * SOURCE.stages[0].out_channels
    widened = network.blocks[1][0].conv_pwl.weight
    assert float(widened.detach()[:16, old:].abs().max()) == 0
    assert float(widened.grad[:16, old:].abs().min()) > 0


def test_channels_that_are_always_zero_are_those_left_out():
    """A network is given dead channels at random places, everywhere; the narrower one is what
    remains of it."""
    wide = replace(
        stages(SOURCE, out_channels=lambda s: s.out_channels + 8, expansion=lambda s: s.expansion),
        stem=Stem(channels=16),
        head_channels=64,
    )
    state = randomised(wide).state_dict()
    drawn = random.Random(4)

    def kill(alive, *names):
        """All but `alive` of the channels that the batch norms `names` write are zero."""
        count = len(state[f"{names[0]}.weight"])
        for channel in drawn.sample(range(count), count - alive):
            for name in names:
                state[f"{name}.weight"][channel] = 0
                state[f"{name}.bias"][channel] = 0

    # Stem and first stage add to one stream, which its depthwise convolution reads.
    kill(8, "bn1", "blocks.0.0.bn1", "blocks.0.0.bn2")
    kill(40, "bn2")
    kill(24, "blocks.1.0.bn1", "blocks.1.0.bn2")
    kill(48, "blocks.1.1.bn1", "blocks.1.1.bn2")
    # Stages 1 and 2 add to one stream, as 3 and 4 do.
    kill(16, "blocks.1.0.bn3", "blocks.1.1.bn3", "blocks.2.0.bn3", "blocks.2.1.bn3")
    kill(48, "blocks.2.0.bn1", "blocks.2.0.bn2")
    kill(48, "blocks.2.1.bn1", "blocks.2.1.bn2")
    kill(32, "blocks.3.0.bn1")
    kill(48, "blocks.3.1.bn1")
    kill(24, "blocks.3.0.bn2", "blocks.3.1.bn2", "blocks.4.0.bn1", "blocks.4.1.bn1")
    for b, squeezed in (("0.0", 2), ("1.0", 2), ("1.1", 4)):
        reduce = f"blocks.{b}.se.conv_reduce"
        dead = drawn.sample(range(len(state[f"{reduce}.bias"])), len(state[f"{reduce}.bias"]))
        for channel in dead[squeezed:]:
            state[f"{reduce}.weight"][channel] = 0
            state[f"{reduce}.bias"][channel] = 0
    found = assert_same_function(wide, SOURCE, state)
    assert not found.left and not found.ways["new"]
    assert "blocks.1.0.conv_pw.weight" in found.ways["selected"]
    # The other way round: the first ones are not the ones that are alive.
    assert not torch.equal(found.weights["conv_stem.weight"], state["conv_stem.weight"][:8])


# -- what changes the function -----------------------------------------------------------------


def test_smaller_kernels_are_the_centre_and_shallower_stages_the_first_blocks():
    large = stages(SOURCE, kernel=lambda s: 7)
    state = randomised(large).state_dict()
    small = stages(SOURCE, kernel=lambda s: 3, repeats=lambda s: 1)
    found = remap(state, small)
    name = "blocks.1.0.conv_dw.weight"
    assert torch.equal(found.weights[name], state[name][:, :, 2:5, 2:5])
    assert name in found.ways["cropped"] and not found.ways["new"]
    assert all(n.split(".")[2] == "1" for n in found.left)
    assert "cropped to smaller kernels" in found.text


def test_other_kinds_and_other_classes_are_new():
    state = randomised(SOURCE).state_dict()
    words = SOURCE.block_string.split()
    other = Architecture.from_block_string(
        " ".join([words[0], words[1].replace("ir", "er"), *words[2:]]),
        stem=SOURCE.stem,
        head_channels=40,
        num_classes=7,
        resolution=24,
    )
    found = remap(state, other, seed=3)
    new = {name for name in found.weights if name.startswith("blocks.1.")}
    assert set(found.ways["new"]) == new | {"classifier.weight", "classifier.bias"}
    assert len(found.ways["copied"]) + len(found.ways["new"]) == len(found.weights)
    again, third = (remap(state, other, seed=seed).weights for seed in (3, 4))
    assert all(torch.equal(again[n], tensor) for n, tensor in found.weights.items())
    assert not torch.equal(third["classifier.weight"], again["classifier.weight"])
    assert "left over: blocks.1.0.conv_pw.weight" in found.text
    # A network without a head convolution reads the last stage, and has a new classifier.
    headless = remap(state, replace(SOURCE, head_channels=None))
    assert set(headless.ways["new"]) == {"classifier.weight", "classifier.bias"}
    # So are further stages; what follows reads their channels as if they had been there.
    longer = replace(SOURCE, stages=(*SOURCE.stages, replace(SOURCE.stages[-1], out_channels=32)))
    found = remap(state, longer)
    assert all(name.startswith("blocks.5.") for name in found.ways["new"])
    assert set(found.ways["widened"]) == {"conv_head.weight"}


def test_a_further_block_without_a_shortcut_repeats_the_last():
    plain = stages(SOURCE, skip=lambda s: "none")
    state = randomised(plain).state_dict()
    found = remap(state, stages(plain, repeats=lambda s: 3))
    assert torch.equal(found.weights["blocks.1.2.bn3.weight"], state["blocks.1.1.bn3.weight"])
    assert "blocks.1.2.bn3.weight" in found.ways["repeated"]
    # The only block of a stage reads another width: what follows it is new.
    assert "blocks.0.1.bn2.weight" in found.ways["new"]


def test_a_published_network_under_foreign_names():
    b0 = replace(reference.architecture("efficientnet_b0"), num_classes=5, resolution=32)
    state = randomised(b0).state_dict()
    foreign, layers = {}, {}
    for name, tensor in state.items():
        path, _, part = name.rpartition(".")
        number = layers.setdefault(path, len(layers))
        head = "classifier.1" if path == "classifier" else f"features.{number}"
        foreign[f"{head}.{part}"] = tensor
    wider = stages(b0, kernel=lambda s: 5, repeats=lambda s: s.repeats + 1)
    assert_same_function(b0, wider, state)
    ours, theirs = remap(state, wider).weights, remap(foreign, wider).weights
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    del foreign["features.3.weight"]
    with pytest.raises(
        UsageError, match=r"weights must be those of a training's folder or of .*, got "
    ):
        remap(foreign, wider)


def test_hostile_names_and_shapes():
    good = randomised(SOURCE).state_dict()
    transformer = {"blocks.0.norm1.weight": torch.ones(3), "blocks.0.gamma": torch.ones(3)}
    with pytest.raises(
        UsageError, match=r"must be those of .* block kinds, got blocks\.0\.norm1\.weight"
    ):
        remap(transformer, SOURCE)
    for name in ("conv_stem.weight", "blocks.1.0.conv_pw.weight", "blocks.2.1.conv_dw.weight"):
        for wrong in (torch.tensor(1.0), torch.ones(3), torch.ones(8, 3, 2, 2), torch.ones(0, 3)):
            found = remap(good | {name: wrong}, SOURCE)
            assert name in found.ways["new"]
            assert {n: t.shape for n, t in found.weights.items()} == {
                n: t.shape for n, t in good.items() if "num_batches" not in n
            }


# -- the command -------------------------------------------------------------------------------


def test_train_starts_from_a_remapped_training(tmp_path, run_cli):
    before = "ds_r1_k3_s1_e1_c8 ir_r2_k3_s2_e3_c16_se0.25"
    after = "ds_r1_k5_s1_e1_c8 ir_r3_k5_s2_e3_c24_se0.25"

    def train(network, name, *more):
        options = ["--resolution", 8, "--batch-size", 128, "--format", "json"]
        return run_cli("train", network, *options, "--output", tmp_path / name, *more)

    code, _, err = train(before, "first", "--epochs", 6)
    assert code == 0, err
    start = ("--init", tmp_path / "first", "--epochs", 1, "--recipe", "scratch")
    code, _, err = train(after, "refused", *start)
    assert code == 2 and err.endswith("except the classifier; others with --remap\n")
    assert not (tmp_path / "refused").exists()
    code, _, err = train(after, "refused", "--remap", "--epochs", 1)
    assert (code, err.count("\n")) == (2, 1) and "--remap requires --init" in err
    code, _, err = train(after, "second", *start, "--remap")
    assert code == 0, err
    assert f"weights of {tmp_path / 'first'}: " in err
    assert "embedded in larger kernels" in err and "repeated from a stage's last block" in err
    words = json.loads((tmp_path / "second" / "export" / "weights.json").read_text())
    assert f"from {tmp_path / 'first'}, remapped: those after epoch 1 of 1" in words["weights"]
    code, _, err = train(after, "anew", *start[2:])
    assert code == 0, err
    losses = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["loss"]
        for name in ("second", "anew")
    ]
    assert losses[0] < losses[1]

    # A training that is older than the option is the same training without it.
    config = tmp_path / "anew" / "config.json"
    value = read_json(config)
    del value["config"]["remap"]
    config.write_text(json.dumps(value))
    assert train(after, "anew", *start[2:])[0] == 0
    assert run_cli("resume", tmp_path / "anew")[0] == 0
    code, _, err = train(after, "anew", *start, "--remap")
    assert code == 2


def test_names_of_weights_are_counted():
    assert weights.abbreviate(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert weights.abbreviate([]) == "nothing"
