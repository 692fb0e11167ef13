"""Checksums of weights: torch's own and that of safetensors files."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import DamagedFile, UsageError
from mnas_search.export.weights import safetensors
from mnas_search.networks import build
from mnas_search.networks.weights import metadata, sources
from mnas_search.networks.weights.settings import find_settings

SMALL = Architecture.from_block_string("ds_r1_k3_s1_c8", num_classes=3, resolution=16)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return build(SMALL).state_dict()


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_flipped_bits_of_weights_are_refused_or_change_nothing(state, tmp_path, name):
    path, count = tmp_path / name, 400
    if name == "w.pt":
        torch.save(state, path)
    else:
        path.write_bytes(safetensors(state, SMALL))
    whole, wanted, refused = path.read_bytes(), sources.read(path), 0
    for number in range(count):
        # Half of them in the first part, where a safetensors file has its header.
        place = len(whole) if number % 2 else 2_000
        path.write_bytes(flipped(whole, number * 8 * place // count))
        try:
            found = sources.read(path)
        except (UsageError, DamagedFile) as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert same(found, wanted), number
    assert refused > 0.5 * count
    for cut in range(0, len(whole), len(whole) // 50):
        path.write_bytes(whole[:cut])
        with pytest.raises(UsageError):
            sources.read(path)


def test_the_architecture_in_a_file_is_checked_too(state, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors(state, SMALL))
    assert Architecture.from_json(metadata.read(path)["architecture"]) == SMALL
    assert find_settings(tmp_path / "weights.pt", state, None) is not None
    path.write_bytes(path.read_bytes().replace(b'\\"num_classes\\":3', b'\\"num_classes\\":5'))
    assert json.loads(Architecture.to_json(SMALL))["num_classes"] == 3
    with pytest.raises(DamagedFile, match="is damaged: its checksum must be crc32"):
        metadata.read(path)
    with pytest.raises(DamagedFile, match="is damaged"):
        find_settings(tmp_path / "weights.pt", state, None)


def test_files_of_others_and_files_elsewhere_are_read(state, tmp_path):
    save_file(state, tmp_path / "theirs.safetensors", {"checksum": "mine"})
    assert same(sources.read(tmp_path / "theirs.safetensors"), state)
    save_file(state, tmp_path / "bare.safetensors")
    assert same(sources.read(tmp_path / "bare.safetensors"), state)
    (tmp_path / "weights.safetensors").write_bytes(safetensors(state, SMALL))
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "weights.safetensors", tmp_path / "elsewhere")
    copied = tmp_path / "elsewhere" / "weights.safetensors"
    assert same(sources.read(copied), state) and same(load_file(copied), state)
    assert metadata.read(tmp_path / "nothing.safetensors") == {}
