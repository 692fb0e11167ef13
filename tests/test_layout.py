"""The layout: which package imports which, how large folders are, what is packaged."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve()
while not (ROOT / "pyproject.toml").is_file():
    ROOT = ROOT.parent
SOURCE = ROOT / "mnas_search"

# A package imports only packages above it in this list.
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
PLUGIN_FOLDERS = ("controllers", "search_spaces")
# The public modules hand on names of the packages that they stand for.
FACADES = {"blocks": "architecture", "reference": "architecture", "__init__": "cli"}
EXEMPT = {"cli"}  # one module a command
MOST = 14  # modules and packages in one folder


def imported(path: Path) -> set[str]:
    """The modules of this project that a file imports, in functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "mnas_search"}


def package_of(module: str) -> str:
    """The package, in the sense of `ORDER`, that an imported name belongs to."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "__init__"
    return FACADES.get(name, name if (SOURCE / name).is_dir() else "cli")


def offences(root: Path) -> list[str]:
    """Imports of a lower package, as "file imports module"."""
    found = []
    for path in sorted((root / "mnas_search").rglob("*.py")):
        own = path.relative_to(root / "mnas_search").parts[0].removesuffix(".py")
        own = FACADES.get(own, own)
        if own == "__main__":
            continue
        for module in sorted(imported(path)):
            other = package_of(module)
            if other not in ORDER or ORDER.index(other) > ORDER.index(own):
                found.append(f"{path.relative_to(root)} imports {module}")
    return found
