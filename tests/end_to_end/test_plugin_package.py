"""A package with a plug-in of every kind, installed from a wheel beside mnas-search's own."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "tests" / "plugin_package"
NETWORK = "pd_r1_k3_s1_e1_c8 pd_r1_k3_s2_e1_c16"


def build_wheel(project: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", folder, project]
    subprocess.run(command, check=True)


def copied(project: Path, folder: Path, *parts: str) -> Path:
    """A copy without what tests left behind, since a build writes into the folder."""
    for part in parts:
        source, target = project / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, target)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with both wheels, and the site-packages of this one behind them."""
    work = tmp_path_factory.mktemp("wheels")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    tops = [top for top in config["package-dir"].values() if "/" not in top]
    files = (*tops, "pyproject.toml", "README.md", "LICENSE")
    build_wheel(copied(ROOT, work / "project", *files), work / "dist")
    build_wheel(copied(PLUGINS, work / "plugins", "acme_nas", "pyproject.toml"), work / "dist")

    place = work / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-index", *(work / "dist").glob("*.whl")], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    behind = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "behind.pth").write_text("".join(f"{path}\n" for path in behind))
    return place / "bin"


@pytest.fixture
def run(environment, tmp_path):
    """Run a program of the environment in an empty folder: its standard output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def call(program, *arguments):
        command = [environment / program, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_the_suites_pass_where_both_are_installed(run, environment):
    code = "import acme_nas, mnas_search; print(acme_nas.__file__, mnas_search.__file__)"
    for file in run("python", "-c", code).split():
        assert Path(file).is_relative_to(environment.parent)
    tests = copied(PLUGINS, environment.parent / "plugin_tests", "tests")
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "-W", "ignore::DeprecationWarning")
    assert " passed" in run("python", "-m", "pytest", *options, "--rootdir", tests, tests)


def test_commands_find_the_plug_ins_by_name(run, tmp_path):
    listed = json.loads(run("mnas-search", "list", "--format", "json"))
    acme = {row["name"] for row in listed if row["package"] == "acme-nas"}
    assert acme == {
        "acme_climb",
        "acme_narrow",
        "acme_npz",
        "acme_params",
        "acme_squares",
        "pd",
    }
    plugins = ("--space", "acme_narrow", "--controller", "acme_climb")
    plugins += ("--evaluator", "acme_params", "--resolution", 32, "--num-classes", 10)
    arguments = ("--target-flops", "3M", "--trials", 12, "--workers", 0, "--format", "json")
    report = json.loads(run("mnas-search", "run", *plugins, *arguments, "--output", "found"))
    assert report["trials"] == 12
    assert report["best"]["macs"] <= 3e6
    best = json.loads((tmp_path / "found" / "best.json").read_text())
    assert best["block_string"].startswith("pd_r")
    assert "class PointwiseDepthwise" in (tmp_path / "found" / "export" / "model.py").read_text()
    run("python", "-I", tmp_path / "found" / "export" / "model.py")

    written = run("mnas-search", "export", "found", "--to", "acme_npz", "-o", "written")
    assert Path(written.strip()).name == "network.npz"


def test_data_and_block_kind_train(run):
    arguments = ("--data", "acme_squares", "--proxy", "epochs=1", "--format", "json")
    (row,) = json.loads(run("mnas-search", "evaluate", NETWORK, *arguments))
    assert row["name"] == NETWORK
    assert 0 <= row["accuracy"] <= 1
