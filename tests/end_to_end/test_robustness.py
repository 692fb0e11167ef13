"""What users and machines do to a run: odd plug-ins, full disks, broken files."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnas_search.architecture.scaling import CompoundRule, compound
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture, InvalidChoices, UsageError, WorkFailed
from mnas_search.nas.space.choices import Decision

HERE = Path(__file__).parents[1]
EVALUATOR = f"{HERE / 'evaluators_for_tests.py'}:by_params"

HEADER = """
import sys
import numpy as np
import torch
from mnas_search import Architecture, Controller, Decision, Evaluation, Evaluator, SearchSpace
from mnas_search import Stage, StagewiseSpace, TracedNetwork, WorkFailed, cost
"""


@pytest.fixture
def mine(tmp_path):
    """Write a plug-in file: (its path, the file's text after the usual imports)."""

    def write(text):
        file = tmp_path / "mine.py"
        file.write_text(HEADER + text)
        return file

    return write


def run_options(folder, **changes):
    options = {
        "target-flops": "200M",
        "controller": "random_search",
        "evaluator": EVALUATOR,
        "trials": 3,
        "workers": 0,
        "output": folder,
        **changes,
    }
    return [x for k, v in options.items() for x in (f"--{k}", v)]


def tells(folder):
    text = (folder / "journal.jsonl").read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()  # without a torn last line
    return [e for e in map(json.loads, lines) if e["event"] == "tell"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("sys.exit(0)", "SystemExit: 0"),
        ("raise MemoryError", "out of memory"),
        (r"raise ValueError('bad \udcff')", r"ValueError: bad \udcff"),
        ("raise ValueError('two\\nlines')", "ValueError: two"),
        ("return 'banana'", "ValueError: could not convert string to float: 'banana'"),
        ("return None", "TypeError: float() argument"),
        ("return 93.1", "accuracy must be a fraction from 0 to 1, got 93.1"),
    ],
)
def test_anything_a_function_does_is_an_outcome(run_cli, mine, tmp_path, body, error):
    file = mine(f"def score(architecture):\n    {body}\n")
    code, _, err = run_cli("run", *run_options(tmp_path / "run", evaluator=f"{file}:score"))
    assert code == 1
    assert f"all 3 candidates failed; the first one: {error}" in err
    assert {e["status"] for e in tells(tmp_path / "run")} == {"failed"}


@pytest.mark.parametrize("value", ["np.float32(0.5)", "torch.tensor(0.5)", "np.float64(0.5)"])
def test_scalars_of_other_libraries(run_cli, mine, tmp_path, value):
    file = mine(
        "class Mine(Evaluator):\n"
        "    resources = None\n"
        "    def __init__(self, *, data=None): pass\n"
        f"    def evaluate(self, network, *, seed): yield Evaluation(accuracy={value})\n"
    )
    code, _, err = run_cli("run", *run_options(tmp_path / "run", evaluator=f"{file}:Mine"))
    assert code == 0, err
    assert {e["accuracy"] for e in tells(tmp_path / "run")} == {0.5}


@pytest.mark.parametrize(
    ("option", "text", "code", "says"),
    [
        ("evaluator", "class X(Evaluator): pass", 2, "'X' cannot be made with no arguments"),
        ("controller", "class X(Controller): pass", 2, "cannot be made with problem"),
        ("controller", "X = 3", 2, "controller must name a Controller class"),
        ("space", "class X(SearchSpace): pass", 2, "cannot be made with"),
        ("space", "X = 3", 2, "must be a SearchSpace class"),
        ("space", "sys.exit(0)", 2, "does not load: SystemExit"),
        ("space", "raise ValueError('two\\nlines')", 2, "two lines"),
        (
            "space",
            "class X(SearchSpace):\n"
            "    decisions = (Decision(name='a', options=(1, 2)),) * 2\n"
            "    def decode(self, choices): return None\n",
            2,
            "all with different names",
        ),
        (
            "space",
            "class X(SearchSpace):\n"
            "    decisions = (Decision(name='a', options=(1, 2)),)\n"
            "    def decode(self, choices): return None\n",
            1,
            "failed",
        ),
        (
            "controller",
            "class X(Controller):\n"
            "    def __init__(self, problem): pass\n"
            "    def ask(self, rng): return {'banana': 1}\n"
            "    def tell(self, trial): pass\n",
            2,
            "decision must be one of ",
        ),
        (
            "controller",
            "class X(Controller):\n"
            "    def __init__(self, problem): pass\n"
            "    def ask(self, rng): return None\n"
            "    def tell(self, trial): pass\n",
            1,
            "the controller's ask 0 failed: TypeError",
        ),
        (
            "space",
            "class X(SearchSpace):\n"
            "    decisions = (Decision(name='a', options=(1, 2)),)\n"
            "    def decode(self, choices):\n"
            "        return TracedNetwork(build=torch.nn.Identity, key='k', resolution=8)\n",
            2,
            "'k' must have multiply-adds, got none",
        ),
    ],
)
def test_plug_ins_that_err_are_named_in_one_line(
    run_cli, mine, tmp_path, option, text, code, says
):
    file = mine(text)
    got, out, err = run_cli("run", *run_options(tmp_path / "run", **{option: f"{file}:X"}))
    assert (got, out) == (code, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in err


def test_an_exhausted_space_without_a_winner_says_so(run_cli, mine, tmp_path):
    file = mine(
        "class X(SearchSpace):\n"
        "    decisions = (Decision(name='a', options=(8,)),)\n"
        "    def decode(self, choices):\n"
        "        return Architecture.from_block_string('cn_r1_k3_s1_c64')\n"
    )
    code, _, err = run_cli("run", *run_options(tmp_path / "run", space=f"{file}:X"))
    assert code == 1
    assert "none of 1 candidates is within 200M FLOPs" in err
    assert "the space is exhausted" in err


def test_decisions_are_plain_values():
    assert Decision(name="w", options=tuple(np.arange(1, 3))).options == (1, 2)
    assert type(Decision(name="w", options=(np.float32(0.5),)).options[0]) is float
    for options in ((8, (1, 2)), (None,), ([],), (), [1, 2], (1, 1), (0.0, 0)):
        with pytest.raises(InvalidChoices):
            Decision(name="w", options=options)


def test_a_resolution_so_large_that_some_of_the_family_cannot_be(run_cli, tmp_path):
    folder = tmp_path / "run"
    options = {"target-flops": "1T", "resolution": 8192, "trials": 2}
    code, out, err = run_cli("run", *run_options(folder, **options), "--format", "json")
    assert code == 0, err
    names = [row["name"] for row in json.loads(out)["family"]]
    assert names == [f"run-b{i}" for i in range(5)]  # b5 would pass 16,384 pixels
    assert (folder / "export" / "model.py").exists()


def test_more_trials_repeat_no_more_than_eight(run_cli, tmp_path):
    folder, slow = tmp_path / "run", f"{HERE / 'evaluators_for_tests.py'}:troubled"
    for trials in (12, 48, 49, 50):
        code, _, err = run_cli("run", *run_options(folder, evaluator=slow, trials=trials))
        assert code == 0, err
    events = [json.loads(x) for x in (folder / "journal.jsonl").read_text().splitlines()]
    repeated = [e["trial"] for e in events if e["event"] == "repeat"]
    assert len(repeated) <= 8
    assert len(set(repeated)) == len(repeated)


def test_a_relative_file_resumes_from_anywhere(run_cli, mine, tmp_path, monkeypatch):
    mine("def score(architecture):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    options = run_options(tmp_path / "run", evaluator="mine.py:score")
    assert run_cli("run", *options)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run_cli("resume", tmp_path / "run", "--trials", 4)
    assert code == 0, err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"config": {}}'),
        ("config.json", '{"config": {"target_flops": 2e8, "trials": "5"}}'),
        ("config.json", "{}"),
        ("config.json", "banana"),
        ("journal.jsonl", "banana\n"),
        ("journal.jsonl", '{"event": "tell", "time": 1, "trial": 0, "macs": 1}\n'),
        ("journal.jsonl", '{"event": "ask", "time": 1}\n'),
        ("journal.jsonl", '{"event": "ask"}\n'),
    ],
)
def test_broken_files_of_a_run_are_refused_and_kept(run_cli, tmp_path, name, content):
    folder = tmp_path / "run"
    assert run_cli("run", *run_options(folder))[0] == 0
    (folder / name).write_text(content)
    code, out, err = run_cli("resume", folder)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert (folder / name).read_text() == content


@pytest.mark.parametrize("content", ["", "{}", '{"architecture": null}'])
def test_a_broken_winner_is_refused(run_cli, tmp_path, content):
    folder = tmp_path / "run"
    assert run_cli("run", *run_options(folder))[0] == 0
    (folder / "best.json").write_text(content)
    code, out, err = run_cli("profile", folder)
    assert (code, out) == (2, "")
    assert "best.json" in err


def limited(arguments, size):
    """Run the command line in a process that may not write files larger than `size` bytes."""
    code = "from mnas_search.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


@pytest.mark.parametrize("size", [0, 3_000, 20_000])
def test_a_disk_that_fills_loses_nothing(run_cli, tmp_path, size):
    folder = tmp_path / "run"
    options = run_options(folder, trials=8)
    done = limited(["run", *options], size)
    assert done.returncode == 1, done.stderr
    assert "error: cannot write " in done.stderr
    assert "Traceback" not in done.stderr
    finished = [e["trial"] for e in tells(folder)] if size else []
    assert not list(folder.rglob(".*.tmp"))
    code, _, err = run_cli("run", *options)  # the disk has room again
    assert code == 0, err
    assert [e["trial"] for e in tells(folder)][: len(finished)] == finished
    assert len(tells(folder)) == 8


def test_an_export_that_does_not_fit_leaves_nothing(tmp_path):
    done = limited(
        ["export", "efficientnet_b0", "--to", "pytorch", "-o", tmp_path / "out"], 100_000
    )
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_numbers_beyond_all_numbers():
    small = Architecture.from_block_string("ds_r1_k3_s1_c8")
    for phi, rule in ((100, CompoundRule(gamma=1e10)), (1, CompoundRule(beta=1e200))):
        with pytest.raises(UsageError):
            compound(small, phi, rule)
    with pytest.raises(InvalidArchitecture):
        Architecture.from_dict({**small.to_dict(), "bn_eps": 10**400})
    with pytest.raises(InvalidArchitecture):
        Architecture.from_dict({**small.to_dict(), "name": "\ud800"})
    with pytest.raises(InvalidArchitecture):
        Architecture.from_dict({**small.to_dict(), "version": True})


@pytest.mark.parametrize("ratio", [1e-19, 1.2345678901234e-05, 1 / 3, 1e-05, 0.1])
def test_every_ratio_round_trips_as_text(ratio):
    stage = Stage(kind="ir", kernel=3, stride=1, expansion=6, out_channels=8, repeats=1)
    from dataclasses import replace

    network = Architecture(stages=(replace(stage, se_ratio=ratio),))
    assert Architecture.from_block_string(network.block_string).stages == network.stages


def test_negative_zero_is_zero():
    one, two = (
        Architecture.from_block_string("ds_r1_k3_s1_c8", dropout_rate=zero) for zero in (0.0, -0.0)
    )
    assert one.to_json() == two.to_json()


def test_a_very_deep_network_is_exported(run_cli, tmp_path):
    code, _, err = run_cli(
        "export", "cn_r200_k3_s1_e1_c8_skip", "--to", "pytorch", "-o", tmp_path / "out"
    )
    assert code == 0, err


def test_failed_work_has_its_own_exit_code():
    assert not issubclass(WorkFailed, ValueError)


def test_data_of_another_form_is_refused():
    from mnas_search.data import Dataset, Split

    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)
    good = Split(images=images, labels=labels.astype(np.int32))
    assert good.labels.dtype == np.int64
    for bad in (
        {"images": images / 255},
        {"images": images[..., 0]},
        {"images": images.transpose(0, 3, 1, 2)},
        {"labels": labels[:3]},
        {"labels": labels / 2},
        {"images": images[:0], "labels": labels[:0]},
    ):
        with pytest.raises(UsageError, match="must be"):
            Split(**{"images": images, "labels": labels, **bad})
    splits = {"train": good, "validation": good, "test": good}
    with pytest.raises(UsageError, match="must be from 0 to 2, got 0 to 3"):
        Dataset(name="x", num_classes=3, **splits)
    with pytest.raises(UsageError, match="train must be a Split, got tuple"):
        Dataset(name="x", num_classes=4, **{**splits, "train": (images, labels)})


def test_the_example_data_set_is_trained_on(run_cli):
    example = HERE.parent / "examples" / "my_data.py"
    small = "ds_r1_k3_s1_e1_c64"
    code, out, err = run_cli("evaluate", small, "--data", f"{example}:dataset", "--format", "json")
    assert code == 0, err
    assert json.loads(out)[0]["accuracy"] > 0.5  # chance is 0.33
