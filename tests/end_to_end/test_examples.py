"""The commands in the examples' own docstrings."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-c"]


@pytest.mark.full
def test_examples_custom_space_and_block_kind(tmp_path):
    example = ROOT / "examples" / "my_space.py"
    main = "from mnas_search.cli import main; main()"
    command = [*PYTHON, main, "run", "--target-flops", "150M", "--trials", "20", "--workers", "0"]
    command += ["--space", f"{example}:MySpace", "--evaluator", f"{example}:score"]
    done = subprocess.run([*command, "--output", tmp_path / "run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "export" / "model.py").exists()

    # What `pip install` would write: the modules and the entry point's metadata.
    site = tmp_path / "site"
    info = site / "mnas_search_grouped-0.1.dist-info"
    info.mkdir(parents=True)
    for name in ("grouped.py", "grouped_module.py"):
        (site / name).write_text((ROOT / "examples" / "block_kind" / name).read_text())
    config = tomllib.loads((ROOT / "examples" / "block_kind" / "pyproject.toml").read_text())
    points = config["project"]["entry-points"]["mnas_search.blocks"]
    lines = "".join(f"{name} = {target}\n" for name, target in points.items())
    (info / "entry_points.txt").write_text(f"[mnas_search.blocks]\n{lines}")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mnas-search-grouped\nVersion: 0.1\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    text = "gc_r2_k3_s1_e1_c32_se0.25 ir_r1_k3_s2_e4_c24"
    check = (
        "import torch, warnings\n"
        "from mnas_search import Architecture, cost\n"
        "from mnas_search.networks import build\n"
        "from torch.utils.flop_counter import FlopCounterMode\n"
        f"a = Architecture.from_block_string({text!r})\n"
        "n = build(a).eval()\n"
        "c = FlopCounterMode(display=False)\n"
        "with c, torch.no_grad(): n(torch.zeros(1, 3, 224, 224))\n"
        "assert c.get_total_flops() == 2 * cost(a).macs\n"
        "assert sum(p.numel() for p in n.parameters()) == cost(a).params\n"
    )
    done = subprocess.run([*PYTHON, check], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    done = subprocess.run(
        [*PYTHON, main, "export", text, "--to", "pytorch", "-o", out],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-I", out / "model.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*PYTHON, main, "profile", text], capture_output=True, text=True)
    assert done.returncode == 2
    assert "must be basic, bottleneck, cn, ds, dsa, er, id or ir, got 'gc'" in done.stderr


@pytest.mark.full
def test_the_notebook_runs_and_shows_what_is_stored(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbconvert")
    stored = ROOT / "examples" / "search_in_a_notebook.ipynb"
    shutil.copy(stored, tmp_path)  # its runs go beside it
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook"]
    command += ["--output", "executed.ipynb", tmp_path / stored.name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stored, executed = (nbformat.read(p, 4) for p in (stored, tmp_path / "executed.ipynb"))
    assert shown(executed) == shown(stored)
    assert {"text/html", "image/png"} <= {kind for kinds in shown(executed) for kind in kinds}


def shown(book):
    """What the cells of a notebook show: kinds of output, by cell."""
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    return [
        {kind for one in cell.outputs for kind in one.get("data", {one.output_type: ""})}
        for cell in cells
    ]
