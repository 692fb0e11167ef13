"""The layout: which package imports which, how large folders and modules are."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A package imports only itself and packages above it in this list.
ORDER = (
    "common",
    "architecture",
    "networks",
    "data",
    "nas",
    "training",
    "export",
    "evaluators",
    "testing",
    "experiments",
    "cli",
)
# Public modules that hand on names of a package; `__init__` hands on names of all of them.
FACADES = {"blocks": "architecture", "reference": "architecture", "__main__": "cli"}
SURFACE = ("mnas_search", "mnas_search.blocks", "mnas_search.networks.layers")
# Folders at the top that are installed as packages of `mnas_search`.
PLUGINS = ("controllers", "search_spaces")
BENCHMARKS = "benchmarks"
MAX_MODULES = 14  # modules and packages in a folder
MAX_LINES = 400


class Tree:
    """The modules of a checkout by their dotted names, and what each of them imports."""

    def __init__(self, root: Path) -> None:
        self.files = {}
        for folder in ("mnas_search", *PLUGINS, BENCHMARKS):
            prefix = () if folder == "mnas_search" else ("mnas_search",)
            for file in sorted((root / folder).rglob("*.py")):
                parts = file.relative_to(root).with_suffix("").parts
                name = ".".join((*prefix, *(p for p in parts if p != "__init__")))
                self.files[name] = file
        self.imports = {name: self.read(file) for name, file in self.files.items()}

    def read(self, file: Path) -> set[str]:
        """The modules that a file imports: at its top, in functions and for type checkers."""
        found = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {self.module(alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports relatively"
                found |= {self.module(f"{node.module}.{alias.name}") for alias in node.names}
        return found - {None}

    def module(self, name: str) -> str | None:
        """The module of this project that an imported name lies in."""
        while name.split(".")[0] == "mnas_search":
            if name in self.files:
                return name
            name = name.rpartition(".")[0]
        return None


def package_of(module: str) -> str:
    """The package that a module lies in; "" for `mnas_search` itself."""
    name = module.partition(".")[2].partition(".")[0]
    return FACADES.get(name, name)


def order_offences(tree: Tree) -> list[str]:
    """Imports of a package that lies below, or of the surface, which imports everything."""
    found = []
    for name, imports in tree.imports.items():
        own = package_of(name)
        if own in ORDER:
            above = ORDER[: ORDER.index(own) + 1]
            below = {m for m in imports if package_of(m) not in (*above, BENCHMARKS, *PLUGINS)}
            found += [f"{name} imports {module}" for module in sorted(below)]
    return found


def plugin_offences(tree: Tree) -> list[str]:
    """Imports by a plug-in of what is private, and imports of a plug-in."""
    found = []
    for name, imports in tree.imports.items():
        own = package_of(name)
        for module in sorted(imports):
            other = package_of(module)
            if own in PLUGINS:
                allowed = module in SURFACE or other in (own, "nas", "architecture", "common")
            elif own == BENCHMARKS:
                continue
            else:
                allowed = other not in PLUGINS
            if not allowed:
                found.append(f"{name} imports {module}")
    return found


def benchmark_offences(tree: Tree) -> list[str]:
    """Imports of a benchmark, but by benchmarks and the command that runs them."""
    return [
        f"{name} imports {module}"
        for name, imports in tree.imports.items()
        for module in sorted(imports)
        if package_of(module) == BENCHMARKS
        and package_of(name) != BENCHMARKS
        and name != "mnas_search.cli.benching"
    ]


def circle(tree: Tree) -> list[str]:
    """Modules each of which imports the next; none where there is no circle."""
    graph = {name: imports - {name} for name, imports in tree.imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def crowded_folders(root: Path) -> list[str]:
    """Folders with too many modules and packages; commands and benchmarks are one each."""
    found = []
    for folder in [root / "mnas_search", *(root / "mnas_search").rglob("*/")]:
        if folder.relative_to(root).parts[1:2] == ("cli",) or folder.name == "__pycache__":
            continue
        modules = [f for f in folder.glob("*.py") if f.stem not in ("__init__", "__main__")]
        packages = list(folder.glob("*/__init__.py"))
        if len(modules) + len(packages) > MAX_MODULES:
            found.append(f"{folder.relative_to(root)}: {len(modules) + len(packages)}")
    return found


def long_modules(tree: Tree) -> list[str]:
    """Modules with too many lines."""
    lines = {name: len(file.read_text().splitlines()) for name, file in tree.files.items()}
    return [f"{name}: {count}" for name, count in lines.items() if count > MAX_LINES]


@pytest.fixture(scope="module")
def tree():
    return Tree(ROOT)


@pytest.fixture
def made_up(tmp_path):
    """Write a small checkout from a mapping of paths to texts."""

    def write(files: dict[str, str]) -> Tree:
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return Tree(tmp_path)

    return write


def test_a_package_imports_only_packages_above_it(tree):
    assert order_offences(tree) == []


@pytest.mark.parametrize(
    "text",
    [
        "import mnas_search.nas.core",
        "from mnas_search.nas import core",
        "from mnas_search.nas.core import Search as S",
        "def f():\n    from mnas_search.nas.core import Search\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mnas_search.nas.core\n",
        "class A:\n    async def f(self):\n        import mnas_search.nas.core as c\n",
    ],
)
def test_an_import_of_a_package_below_is_named(made_up, text):
    files = {"mnas_search/nas/core.py": "", "mnas_search/data/bad.py": text}
    files["mnas_search/cli/good.py"] = files["mnas_search/nas/good.py"] = text
    assert order_offences(made_up(files)) == ["mnas_search.data.bad imports mnas_search.nas.core"]


def test_imports_of_the_surface_are_named(made_up):
    """A facade counts as the package whose names it hands on; the surface imports everything."""
    tree = made_up(
        {
            "mnas_search/__init__.py": "",
            "mnas_search/blocks.py": "from mnas_search.architecture import kind",
            "mnas_search/architecture/kind.py": "",
            "mnas_search/common/bad.py": "import mnas_search.blocks",
            "mnas_search/cli/bad.py": "from mnas_search import search",
            "mnas_search/nas/good.py": "from mnas_search import blocks",
        }
    )
    assert order_offences(tree) == [
        "mnas_search.cli.bad imports mnas_search",
        "mnas_search.common.bad imports mnas_search.blocks",
    ]


def test_plug_ins_import_the_surface_nas_architecture_and_common_and_nobody_imports_them(tree):
    assert plugin_offences(tree) == []


def test_offending_plug_ins_are_named(made_up):
    tree = made_up(
        {
            "mnas_search/__init__.py": "",
            "mnas_search/nas/controller.py": "",
            "mnas_search/training/loop.py": "",
            "mnas_search/experiments/bad.py": "def f():\n    import mnas_search.controllers.good",
            "controllers/good.py": "from mnas_search import Trial\n"
            "from mnas_search.nas.controller import Controller\n",
            "controllers/bad.py": "from mnas_search.training.loop import Training",
            "search_spaces/bad.py": "from mnas_search.controllers import good",
            "benchmarks/good.py": "from mnas_search.controllers import good",
        }
    )
    assert plugin_offences(tree) == [
        "mnas_search.experiments.bad imports mnas_search.controllers.good",
        "mnas_search.controllers.bad imports mnas_search.training.loop",
        "mnas_search.search_spaces.bad imports mnas_search.controllers.good",
    ]


def test_benchmarks_are_imported_by_their_command_alone(tree, made_up):
    assert benchmark_offences(tree) == []
    bad = made_up(
        {
            "benchmarks/paper.py": "",
            "benchmarks/good.py": "import mnas_search.benchmarks.paper",
            "mnas_search/cli/benching.py": "import mnas_search.benchmarks.paper",
            "mnas_search/cli/bad.py": "from mnas_search.benchmarks import paper",
        }
    )
    assert benchmark_offences(bad) == ["mnas_search.cli.bad imports mnas_search.benchmarks.paper"]


def test_no_circle_of_modules(tree, made_up):
    assert circle(tree) == []
    bad = made_up(
        {
            "mnas_search/nas/one.py": "from mnas_search.nas import two",
            "mnas_search/nas/two.py": "def f():\n    from mnas_search.nas.three import x",
            "mnas_search/nas/three.py": "import mnas_search.nas.one",
            "mnas_search/nas/good.py": "import mnas_search.nas.one",
        }
    )
    assert {name.rpartition(".")[2] for name in circle(bad)} == {"one", "two", "three"}


def test_folders_fit_on_a_screen(made_up, tmp_path):
    assert crowded_folders(ROOT) == []
    files = {f"mnas_search/nas/m{i}.py": "" for i in range(MAX_MODULES)}
    files |= {f"mnas_search/cli/m{i}.py": "" for i in range(MAX_MODULES + 1)}
    made_up({**files, "mnas_search/nas/__init__.py": "", "mnas_search/nas/data.json": ""})
    assert crowded_folders(tmp_path) == []
    made_up({"mnas_search/nas/package/__init__.py": ""})
    assert crowded_folders(tmp_path) == [f"mnas_search/nas: {MAX_MODULES + 1}"]


def test_modules_can_be_read_in_one_sitting(tree, made_up):
    assert long_modules(tree) == []
    good, bad = "x = 1\n" * MAX_LINES, "x = 1\n" * (MAX_LINES + 1)
    tree = made_up({"benchmarks/bad.py": bad, "mnas_search/good.py": good})
    assert long_modules(tree) == [f"mnas_search.benchmarks.bad: {MAX_LINES + 1}"]


def test_the_architecture_page_names_every_module(tree):
    text = (ROOT / "ARCHITECTURE.md").read_text()
    words = set(re.findall(r"\w+", text[text.index("## Layout") : text.index("## Two ways")]))
    modules = {name for name in tree.imports if name.startswith("mnas_search.")}
    exempt = ("mnas_search.cli.", "mnas_search.benchmarks.")
    named = {name for name in modules if not name.startswith(exempt)} - {"mnas_search.__main__"}
    assert {name for name in named if name.rpartition(".")[2] not in words} == set()
