"""The public surface: its names, lazily loaded, which docs and examples use alone."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mnas_search

ROOT = Path(__file__).parents[1]
NAMES = {
    "mnas_search": [
        "Architecture",
        "Callback",
        "Choices",
        "Codes",
        "Controller",
        "Cost",
        "CostModel",
        "Dataset",
        "Decision",
        "Evaluation",
        "Evaluator",
        "Exporter",
        "InvalidArchitecture",
        "MnasSearchError",
        "Objective",
        "Origin",
        "PriorMember",
        "PriorTimes",
        "Problem",
        "Proposal",
        "Resources",
        "SearchSpace",
        "Split",
        "Stage",
        "StagewiseSpace",
        "Stem",
        "Study",
        "SupportsBaseResolution",
        "SupportsBatchPrediction",
        "SupportsCaveats",
        "SupportsIndependentPair",
        "SupportsIntermediateReports",
        "SupportsLabel",
        "SupportsNoise",
        "SupportsPriorTraining",
        "SupportsSpace",
        "SupportsTabularResults",
        "SupportsTestSplit",
        "SupportsTraining",
        "TabularResults",
        "TracedNetwork",
        "Trial",
        "UsageError",
        "WorkFailed",
        "activation_map",
        "ask_tell",
        "assemble_dataset",
        "build",
        "cost",
        "decode_codes",
        "device_performance",
        "encode_choices",
        "gradient_activation_map",
        "inference_memory",
        "load_dataset",
        "load_plugin",
        "read_latency_table",
        "reference",
        "sample_choices",
        "search",
        "space_cost",
        "training_memory",
    ],
    "mnas_search.blocks": [
        "BlockKind",
        "BlockPlan",
        "BlockSpec",
        "Layer",
        "PlanBuilder",
        "finish_block",
        "make_divisible",
        "padding",
        "squeeze_channels",
        "strided",
    ],
    "mnas_search.testing": [
        "ControllerContract",
        "EvaluatorContract",
        "ExporterContract",
        "MakeController",
        "SearchSpaceContract",
        "ToySpace",
        "toy_accuracy",
    ],
    "mnas_search.reference": ["architecture", "names"],
}
# What a block kind's module is built of; it has no list, since an exported file holds its source.
LAYERS = "mnas_search.networks.layers"


def imports(text: str) -> list[tuple[str, str]]:
    """The modules and names that Python code takes from this package."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "mnas_search"]


def private_imports(file: Path) -> list[str]:
    """What a file of Python, or a page's lines of Python, imports beside the surface."""
    text = file.read_text()
    if file.suffix == ".md":
        lines = [line.strip() for line in text.splitlines()]
        text = "\n".join(s for s in lines if re.match(r"(from|import) mnas_search\b[\w.]*", s))
    return [
        f"{file.name}: {module} {name}".rstrip()
        for module, name in imports(text)
        if not (
            module == LAYERS or (name in NAMES.get(module, []) or (module in NAMES and not name))
        )
    ]


@pytest.mark.parametrize("module", NAMES)
def test_the_names_of_the_surface(module):
    loaded = import_module(module)
    assert sorted(loaded.__all__) == NAMES[module]
    assert {name for name in NAMES[module] if getattr(loaded, name, None) is None} == set()
    assert set(NAMES[module]) <= set(dir(loaded))


def test_type_checkers_see_the_names_that_are_loaded_lazily():
    tree = ast.parse(Path(mnas_search.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    typed = {}
    for node in block.body:
        for alias in node.names:
            typed[alias.asname or alias.name] = (node.module, alias.name)
    assert sorted(typed) == NAMES["mnas_search"]
    for name, (module, attribute) in typed.items():
        home = import_module(module)
        found = getattr(home, attribute, None) or import_module(f"{module}.{attribute}")
        assert getattr(mnas_search, name) is found
    with pytest.raises(AttributeError, match="no attribute 'searches'"):
        _ = mnas_search.searches


def test_docs_and_examples_use_the_public_surface_alone():
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.py")]
    assert len(files) > 10
    assert [offence for file in files for offence in private_imports(file)] == []


def test_private_imports_are_named(tmp_path):
    page, example = tmp_path / "page.md", tmp_path / "example.py"
    page.write_text(
        "Text.\n```python\nfrom mnas_search import search, Search\n```\n"
        "    import mnas_search.nas.core\n    import mnas_search\n"
        "from mnas_search.networks.layers import conv\n"
    )
    assert private_imports(page) == [
        "page.md: mnas_search Search",
        "page.md: mnas_search.nas.core",
    ]
    example.write_text(
        "def f():\n    from mnas_search.blocks import Layer, chain\n    import torch\n"
    )
    assert private_imports(example) == ["example.py: mnas_search.blocks chain"]


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import mnas_search", "torch ray optuna scipy matplotlib numpy sklearn fvcore"),
        (
            "from mnas_search.cli import main; main(['--help'])",
            "torch ray optuna scipy matplotlib numpy sklearn fvcore rich",
        ),
        (
            "from mnas_search.cli import main; main(['profile', 'efficientnet_b0'])",
            "torch ray optuna sklearn fvcore",
        ),
        ("from mnas_search.cli import main; main(['list'])", "torch ray optuna sklearn fvcore"),
        ("from mnas_search.testing import ToySpace, toy_accuracy", "torch ray pytest"),
    ],
)
def test_libraries_that_are_not_loaded(code, unwanted):
    watch = (
        "import atexit, sys\n"
        f"heavy = {unwanted.split()}\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules], file=sys.stderr))\n"
    )
    command = [sys.executable, "-c", watch + code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
