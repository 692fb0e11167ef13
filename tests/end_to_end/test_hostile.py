"""Files of people unknown: architectures, weights, folders of runs, names.

All of them are refused in one short line, or taken as what they say; nothing in them is executed,
and none of them is waited for."""

import io
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.dom import minidom

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import MAX_BLOCKS, Architecture
from mnas_search.common.errors import (
    InvalidArchitecture,
    UsageError,
    printable,
    shorten,
    single_line,
)
from mnas_search.common.files import atomic_directory, read_json
from mnas_search.experiments.training import checkpoints
from mnas_search.export.base import Origin
from mnas_search.networks import build
from mnas_search.networks.weights.loading import fit
from mnas_search.networks.weights.remap import remap
from mnas_search.networks.weights.sources import read

HERE = Path(__file__).parents[1]
EVALUATOR = f"{HERE / 'evaluators_for_tests.py'}:by_params"
SMALL = Architecture.from_block_string(
    "ds_r1_k3_s1_c8_se0.25 ir_r1_k3_s2_e6_c16", num_classes=5, resolution=32, head_channels=32
)
STEM = "conv_stem.weight"


def refused(result, *, codes=(2,)):
    """One line of at most 1,300 characters, all of which print."""
    code, out, err = result
    last = err.splitlines()[-1]
    assert code in codes, result
    assert last.startswith("error: ") and len(last) < 1300
    assert out == "" and last.isprintable()
    return last


@pytest.fixture
def within_seconds():
    """A test that hangs fails."""

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def state():
    """A state dict of `SMALL` whose batch norms have seen images."""
    torch.manual_seed(0)
    network = build(SMALL)
    network(torch.randn(4, 3, 32, 32))
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


# -- architectures -------------------------------------------------------------------------------


def described(**change):
    return json.dumps({**SMALL.to_dict(), **change})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (described(**{"x" * 1_000_000: 1}), "has no field 'xxx"),
        (described(version="v" * 1_000_000), "architecture version must be 1, got 'vvv"),
        (described().replace('"padding"', '"bn_eps": 0.1, "padding"'), "'bn_eps' is given twice"),
        (described(name="n" * 1_000_000), "null or text of 1,000 characters"),
        (
            described(stages=SMALL.to_dict()["stages"][:1] * 20_000),
            "blocks of all stages must be a whole number from 1 to 5,000, got 20000",
        ),
    ],
    ids=range(5),
)
def test_fields_without_bounds(text, says, run_cli, tmp_path):
    (tmp_path / "net.json").write_text(text)
    assert says in refused(run_cli("profile", tmp_path / "net.json"))


def test_blocks_of_all_stages_are_bounded():
    with pytest.raises(InvalidArchitecture, match="from 1 to 5,000, got 6000"):
        Architecture.from_block_string(" ".join(["ds_r1000_k3_s1_c8"] * 6))
    words = ["ds_r1000_k3_s1_c8"] * (MAX_BLOCKS // 1000)
    assert len(Architecture.from_block_string(" ".join(words)).stages) == 5


@pytest.mark.parametrize(
    "text",
    [
        "ir_r1_k3_s1_e\u0666_c16",  # digits, but not those of the grammar
        "ir_r\uff11_k3_s1_e6_c16",
        "ir_r1_" + "x" * 90_000,
        "x" * 90_000,
        "ir_r" + "9" * 50_000 + "_k3_s1_e6_c16",
        "\x1b[31mir_r1 \x1b]0;title\x07_",
    ],
    ids=range(6),
)
def test_block_strings(text, run_cli):
    refused(run_cli("profile", text))


def test_messages_keep_both_ends():
    assert shorten("a" * 30 + "z" * 30, 30) == "a" * 15 + " ... " + "z" * 10
    assert shorten("short", 30) == "short"
    assert single_line("a\x1b[31m\n\tb\u202e\udcff") == "a\\x1b[31m b\\u202e\\udcff"
    assert printable("a\nb\r") == "a\nb\\r"


# -- names ---------------------------------------------------------------------------------------

NAME = '\x1b]0;a\x07[/bold] </svg>"""\\\n---\n| [a](b) `c` <script> ../../{0}'


def test_a_name_is_text_for_terminals_drawings_and_folders(run_cli, tmp_path):
    (tmp_path / "net.json").write_text(replace(SMALL, name=NAME).to_json())
    drawn = tmp_path / "net.svg"
    code, out, err = run_cli("profile", tmp_path / "net.json", "--layers", "--draw", drawn)
    assert code == 0, err
    assert "\x1b" not in out and "\x07" not in out
    assert not minidom.parse(str(drawn)).getElementsByTagName("script")
    code, out, err = run_cli("scale", tmp_path / "net.json", "--phi", "0..1")
    assert code == 0, err
    assert "\x1b" not in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.svg"]


def test_a_card_s_text_is_no_markdown():
    from mnas_search.export.timm.model_card import model_card

    origin = Origin(weights="a \\| b [c](d) `e` ![f](g)", facts=(("x", "&lt;y"),))
    card = model_card(replace(SMALL, name=NAME), origin, registered=True)
    assert "| weights | a \\\\\\| b \\[c\\](d) \\`e\\` !\\[f\\](g) |" in card
    assert "| x | &amp;lt;y |" in card
    assert card.count("\n---\n") == 1  # the end of the front matter


def test_a_run_in_a_folder_that_looks_like_markup(run_cli, tmp_path):
    code, out, err = run_cli("run", *run_options(tmp_path / "a[" / "b]"))
    assert code == 0, err
    assert "a[/b]" in out


# -- weights -------------------------------------------------------------------------------------


def expanded(tensor):
    return torch.zeros(1).expand(10_000_000, *tensor.shape[1:])


UNUSABLE = {
    "is sparse": lambda t: t.to_sparse(),
    "is without values": lambda t: t.to("meta"),
    "is int32": lambda t: t.int(),
    "is bool": lambda t: t.bool(),
    "is complex64": lambda t: t.to(torch.complex64),
    "are not finite numbers": lambda t: t * torch.nan,
    "not finite": lambda t: t.double() + 1e300,  # in single precision
    "has the shape [10000000, 32] in a file of": expanded,
}


@pytest.mark.parametrize("says", UNUSABLE)
def test_tensors_that_no_network_can_have(says, state, run_cli, tmp_path):
    """In every command that takes weights, before a network is built."""
    file, image = tmp_path / "w.pt", tmp_path / "image.png"
    torch.save({**state, "classifier.weight": UNUSABLE[says](state["classifier.weight"])}, file)
    Image.new("RGB", (8, 8)).save(image)
    (tmp_path / "net.json").write_text(SMALL.to_json())
    network, output = tmp_path / "net.json", ("-o", tmp_path / "out")
    train = ("train", network, "--data", "digits", "--resolution", 8, "--output", tmp_path / "t")
    for command in (
        ("export", network, "--to", "pytorch", "--weights", file, *output),
        ("explain", network, image, "--weights", file, *output),
        (*train, "--init", file),
        (*train, "--init", file, "--remap"),
    ):
        line = refused(run_cli(*command))
        assert "'classifier.weight' " in line and says in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.png", "net.json", "w.pt"]


def test_half_precision_is_taken(state, tmp_path):
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        torch.save({n: t.to(kind) for n, t in state.items()}, tmp_path / "w.pt")
        assert not fit(read(tmp_path / "w.pt"), SMALL).new


@pytest.mark.parametrize(
    "name",
    [
        "\u00b2",
        "9" * 5_000,
        pytest.param("x" * 1_000_000, marks=pytest.mark.full),
        "\x1b[31m\n",
    ],
)
def test_names_of_tensors(name, state, run_cli, tmp_path):
    given = {f"{name}.{n}": t for n, t in state.items()}
    torch.save({**given, "fc.extra": torch.zeros(3)}, tmp_path / "w.pt")
    options = ["--to", "pytorch", "--weights", tmp_path / "w.pt", "-o", tmp_path / "out"]
    code, _, err = run_cli("export", SMALL.block_string, *options)
    assert code == 2 and len(err) < 2_000 and "\x1b" not in err
    with pytest.raises(UsageError):
        remap(given, SMALL)


def test_a_state_dict_of_many_names_takes_seconds():
    given = {f"layer.{number}.weight": torch.zeros(1) for number in range(50_000)}
    began = time.process_time()
    with pytest.raises(UsageError, match="do not fit"):
        fit(given, SMALL)
    assert time.process_time() - began < 10


def test_an_archive_of_zeros_is_not_unpacked(run_cli, tmp_path):
    whole, bomb = io.BytesIO(), tmp_path / "w.pt"
    torch.save({STEM: torch.zeros(10)}, whole)
    with zipfile.ZipFile(whole) as given, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        for name in given.namelist():
            padding = bytes(50_000_000) if name.endswith("/data/0") else b""
            made.writestr(name, given.read(name) + padding)
    assert bomb.stat().st_size < 100_000
    options = ["--to", "pytorch", "--weights", bomb, "-o", tmp_path / "out"]
    line = refused(run_cli("export", SMALL.block_string, *options))
    assert "a compressed archive" in line
    assert checkpoints.read(bomb) is None


class Touch:
    """Unpickled by a careless reader, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_an_old_pickle_is_refused_without_a_warning(run_cli, tmp_path):
    for number, protocol in enumerate((0, 2, 4, 5)):
        file, sign = tmp_path / f"{number}.bin", tmp_path / "sign"
        file.write_bytes(pickle.dumps(Touch(sign), protocol=protocol))
        image = tmp_path / "image.png"
        Image.new("RGB", (8, 8)).save(image)
        for command in (
            ("explain", SMALL.block_string, image, "--weights", file),
            ("train", SMALL.block_string, "--data", "digits", "--init", file),
        ):
            result = run_cli(*command)
            refused(result)
            assert result[2].count("\n") == 1
        assert not sign.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**9, 3, 3, 3]},
        {"shape": [2**62, 2**62, 0, 3]},
        {"data_offsets": [0, 10**15]},
        {"data_offsets": [-8, 10]},
        {"dtype": "F999"},
    ],
    ids=range(5),
)
def test_a_safetensors_header_that_lies(change, state, run_cli, tmp_path):
    content = save(state)
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header[STEM] |= change
    text = json.dumps(header).encode()
    file = tmp_path / "w.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    options = ["--to", "pytorch", "--weights", file, "-o", tmp_path / "out"]
    refused(run_cli("export", SMALL.block_string, *options))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_what_no_machine_can_hold_is_not_built(run_cli, tmp_path):
    """Before any memory is taken for it."""
    huge = "cn_r9_k63_s1_c65536"
    for form in ("pytorch", "torch-export", "timm"):
        assert "GB of memory, this machine has" in refused(
            run_cli("export", huge, "--to", form, "-o", tmp_path / "out")
        )
    train = ("train", huge, "--data", "digits", "--resolution", 8)
    assert "GB of memory, this machine has" in refused(run_cli(*train, "--output", tmp_path / "t"))
    assert not list(tmp_path.iterdir())
    check_room(SMALL, copies=4, batch_size=2)


def test_checkpoints_of_other_programs(tmp_path):
    """They are as good as torn."""
    format_, version = "mnas-search training checkpoint", 1
    for value in (
        {"format": format_, "version": version},
        {"format": format_, "version": version, "history": [{"epoch": 1}]},
        {"format": format_, "version": version, "history": 3},
        {"format": Touch(tmp_path / "sign")},
    ):
        torch.save(value, tmp_path / "c.pt")
        assert checkpoints.read(tmp_path / "c.pt") is None
    (tmp_path / "c.pt").unlink()
    os.mkfifo(tmp_path / "c.pt")
    assert not (tmp_path / "sign").exists()


# -- words beside weights ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        {"class_names": "abcde"},
        {"class_names": [1, 2, 3, 4, 5]},
        {"class_names": ["c" * 500_000] * 5},
        {"resolution": 16_384 * 16_384},
        {"normalisation": {"mean": [10**400] * 3, "std": [1] * 3}},
        {"normalisation": {"mean": [0] * 3, "std": [1e-320] * 3}},
    ],
    ids=range(6),
)
def test_words_that_explain_refuses(words, state, run_cli, tmp_path, within_seconds):
    torch.save(state, tmp_path / "weights.pt")
    (tmp_path / "weights.json").write_text(json.dumps({"weights": "mine", **words}))
    (tmp_path / "net.json").write_text(SMALL.to_json())
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    files = (tmp_path / "net.json", tmp_path / "image.png", "--weights", tmp_path / "weights.pt")
    refused(run_cli("explain", *files, "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    options = ["--to", "huggingface", "--weights", tmp_path / "weights.pt", "-o", tmp_path / "hf"]
    code, _, err = run_cli("export", tmp_path / "net.json", *options)  # they say nothing there
    assert code == 0, err
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert all(0 <= value < 1 for value in config["pretrained_cfg"]["mean"])


def test_a_class_of_too_many_digits(state, run_cli, tmp_path):
    torch.save(state, tmp_path / "weights.pt")
    (tmp_path / "net.json").write_text(SMALL.to_json())
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    files = (tmp_path / "net.json", tmp_path / "image.png", "--weights", tmp_path / "weights.pt")
    refused(run_cli("explain", *files, "-o", tmp_path / "out", "--class", "9" * 5_000))


# -- folders of runs -----------------------------------------------------------------------------


def run_options(folder):
    return [
        *("--target-flops", "200M", "--controller", "random_search", "--evaluator", EVALUATOR),
        *("--trials", 2, "--workers", 0, "--output", folder),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run."""
    from mnas_search.cli import main

    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit):
        main([str(option) for option in ("run", *run_options(folder))])
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 100_000], ids=["list", "object"])
def test_a_journal_nested_too_deeply(line, folder, run_cli, tmp_path):
    (folder / "journal.jsonl").write_text(line + "\n")
    for command in (("resume", folder), ("report", folder)):
        assert "line 1 is no event" in refused(run_cli(*command))
    other = run_options(tmp_path / "other")
    refused(run_cli("run", *other, "--start-from", folder))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["config.json", "journal.jsonl", "best.json", "family.csv"])
def test_a_pipe_is_not_waited_for(name, folder, run_cli, tmp_path, within_seconds):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    image = tmp_path / "image.png"
    Image.new("RGB", (8, 8)).save(image)
    commands = {
        "config.json": [("resume",), ("report",), ("explain",)],
        "journal.jsonl": [("resume",), ("report",)],
        "best.json": [("profile",)],
        "family.csv": [("bench", "paper")],
    }
    for command, *options in commands[name]:
        last = [image] if command == "explain" else []
        refused(run_cli(command, *options, folder, *last), codes=(1, 2))


def test_evaluate_reads_ordinary_files(run_cli, tmp_path, within_seconds):
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", "/dev/zero"):
        line = refused(run_cli("evaluate", "--evaluator", EVALUATOR, "--file", file))
        assert "not an ordinary file" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("space", None),
        ("controller", None),
        ("objective", []),
        ("exponent", "x"),
        ("exponent", {}),
        ("target_flops", 10**400),
        ("evaluator", "\x1b[31m" + "x" * 100_000),
    ],
    ids=range(7),
)
def test_a_configuration_of_other_types(name, value, folder, run_cli):
    config = read_json(folder / "config.json")
    config["config"][name] = value
    (folder / "config.json").write_text(json.dumps(config))
    for command in ("resume", "report"):
        refused(run_cli(command, folder))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", float("nan")),
        ("status", []),
        ("macs", []),
        ("macs", float("nan")),
        ("params", -1),
        ("seconds", float("nan")),
        ("seconds", 10**400),
        ("error", float("nan")),
        ("accuracy", "x"),
        ("reward", 10**400),
    ],
    ids=range(10),
)
def test_trials_of_other_types(name, value, folder, run_cli, tmp_path):
    events = [json.loads(x) for x in (folder / "journal.jsonl").read_text().splitlines()]
    tell = next(event for event in events if event["event"] == "tell")
    tell[name] = value
    for event in events:  # of an earlier version
        del event["checksum"]
    text = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "journal.jsonl").write_text(text)
    refused(run_cli("report", folder))
    if name not in ("macs", "params", "reward"):  # which are counted anew there
        refused(run_cli("run", *run_options(tmp_path / "other"), "--start-from", folder))


def test_a_training_s_configuration_of_other_types(run_cli, tmp_path):
    folder = tmp_path / "training"
    train = ("train", SMALL.block_string, "--data", "digits", "--resolution", 8, "--epochs", 1)
    assert run_cli(*train, "--output", folder)[0] == 0
    written = read_json(folder / "config.json")
    values = {
        "data": [3, []],
        "epochs": [None, 1.5],
        "learning_rate": ["x", 10**400],
        "resolution": ["x", {}],
        "init": [3, True],
        "seed": ["x", None],
        "workers": [None, []],
        "gpus_per_worker": ["x", 10**400],
    }
    for name, wrong in values.items():
        for value in wrong:
            config = {**written, "config": {**written["config"], name: value}}
            (folder / "config.json").write_text(json.dumps(config))
            refused(run_cli("resume", folder))


def test_a_link_that_leads_to_itself(run_cli, tmp_path):
    (tmp_path / "w.pt").symlink_to("w.pt")
    command = ("train", SMALL.block_string, "--data", "digits", "--init", tmp_path / "w.pt")
    assert "w.pt'" in refused(run_cli(*command))


# -- links in a folder that was handed over ------------------------------------------------------


def test_links_of_a_run_s_folder_are_not_written_through(folder, run_cli, tmp_path):
    victim, elsewhere = tmp_path / "victim", tmp_path / "elsewhere"
    victim.write_text("mine")
    elsewhere.mkdir()
    for name in (".report.html.tmp", ".best.json.tmp"):
        (folder / name).symlink_to(victim)
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(victim)
    assert run_cli("report", folder)[0] == 0
    assert not (folder / "report.html").is_symlink()
    for name in ("export", "family"):
        shutil.rmtree(folder / name)
        (folder / name).symlink_to(elsewhere)
        assert f"{name}' must be a folder, got a link to" in refused(run_cli("resume", folder))
        (folder / name).unlink()
    (folder / "journal.jsonl").unlink()
    (folder / "journal.jsonl").symlink_to(victim)
    assert "must be a file, got a link to" in refused(run_cli("resume", folder))
    assert victim.read_text() == "mine" and not list(elsewhere.iterdir())


# -- exports whole or not at all -----------------------------------------------------------------


def killed_in_export(target, sign):
    """A process that is killed when all is written, before it is where it belongs."""
    code = (
        "import os, signal\n"
        "from mnas_search.common import files\n"
        "files._move = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from mnas_search.cli import main\n"
        "main()\n"
    )
    arguments = ["export", SMALL.block_string, "--to", "json", "-o", target]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)])
    assert done.returncode == -sign


@pytest.mark.parametrize("exists", [False, True])
def test_what_a_killed_export_left_goes_with_the_next(exists, run_cli, tmp_path):
    target = tmp_path / "out"
    if exists:
        target.mkdir()
    killed_in_export(target, signal.SIGKILL)
    assert list(tmp_path.rglob(".*.tmp")) and not list(tmp_path.glob("out/*.json"))
    code, _, err = run_cli("export", SMALL.block_string, "--to", "json", "-o", target)
    assert code == 0, err
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == [
        "out",
        "out/architecture.json",
    ]


def test_two_at_once_leave_each_other_alone(tmp_path):
    with atomic_directory(tmp_path / "out") as first:
        with atomic_directory(tmp_path / "out") as second:
            assert first.is_dir() and second.is_dir()
            (second / "a").touch()
        (first / "b").touch()
        (tmp_path / "out" / "c").touch()
        (tmp_path / "out" / "a").unlink()
        (tmp_path / "out" / "c").unlink()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b"]


def test_nothing_is_replaced_where_something_is_in_the_way(run_cli, tmp_path):
    (tmp_path / "weights.safetensors").mkdir()
    (tmp_path / "model.py").write_text("mine")
    options = ["--to", "pytorch", "-o", tmp_path, "--force"]
    line = refused(run_cli("export", SMALL.block_string, *options), codes=(1,))
    assert "'weights.safetensors' is a folder" in line
    assert (tmp_path / "model.py").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.py", "weights.safetensors"]


def test_a_new_folder_has_the_rights_of_any_other(run_cli, tmp_path):
    (tmp_path / "other").mkdir()
    run_cli("export", SMALL.block_string, "--to", "json", "-o", tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode
