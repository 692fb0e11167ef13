"""What is built into the wheel: every package, its data and the licences."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT = {".pyc", ".so", ".pyd"}


def packages(root: Path, config: dict) -> dict[str, Path]:
    """The packages that pyproject lists, and the folders that they are built from."""
    folders = config["package-dir"]
    found = {}
    for package in config["packages"]:
        head = max((p for p in folders if f"{package}.".startswith(f"{p}.")), key=len)
        found[package] = root / folders[head] / package[len(head) :].replace(".", "/").strip("/")
    return found


def missing(root: Path, config: dict) -> list[str]:
    """Folders with Python files that no package of the list is built from, and the reverse."""
    listed = set(packages(root, config).values())
    tops = [root / top for top in config["package-dir"].values()]
    found = {file.parent for top in tops for file in top.rglob("*.py")}
    unfinished = [folder for folder in listed if not (folder / "__init__.py").is_file()]
    return sorted(str(f.relative_to(root)) for f in {*(listed ^ found), *unfinished})


def unlisted(root: Path, config: dict) -> list[str]:
    """Files of a package that are neither Python nor package data."""
    found = []
    for package, folder in packages(root, config).items():
        patterns = config["package-data"].get(package, [])
        for file in folder.glob("*"):
            if file.is_file() and file.suffix != ".py" and file.suffix not in BUILT:
                if not any(fnmatch(file.name, pattern) for pattern in patterns):
                    found.append(str(file.relative_to(root)))
    return sorted(found)


def dead(root: Path, config: dict) -> list[str]:
    """Package data and packages' settings that no file answers to."""
    folders = packages(root, config)
    return [
        f"{package}: {pattern}"
        for package, patterns in config["package-data"].items()
        for pattern in patterns
        if package not in folders or not list(folders[package].glob(pattern))
    ]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def made_up(tmp_path):
    """A checkout of one package, one file too many in each respect."""
    for path in ("one/__init__.py", "one/data.json", "one/two/module.py", "one/two/notes.txt"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return tmp_path


def settings(*packages, data):
    return {"packages": packages, "package-dir": {"one": "one"}, "package-data": data}


def test_the_packages_listed_are_the_folders(project, made_up):
    config = project["tool"]["setuptools"]
    assert len(packages(ROOT, config)) > 20
    assert missing(ROOT, config) == []
    assert missing(made_up, settings("one", data={})) == ["one/two"]
    assert missing(made_up, settings("one", "one.two", data={})) == ["one/two"]  # no __init__
    assert missing(made_up, settings("one", "one.two", "one.three", data={})) == [
        "one/three",
        "one/two",
    ]
    (made_up / "one" / "two" / "__init__.py").touch()
    assert missing(made_up, settings("one", "one.two", data={})) == []


def test_every_other_file_is_package_data(project, made_up):
    config = project["tool"]["setuptools"]
    assert unlisted(ROOT, config) == []
    both = settings("one", "one.two", data={"one": ["*.json"]})
    assert unlisted(made_up, both) == ["one/two/notes.txt"]


def test_package_data_and_licences_exist(project, made_up):
    config = project["tool"]["setuptools"]
    assert dead(ROOT, config) == []
    bad = settings("one", data={"one": ["*.json", "*.csv"], "three": ["*"]})
    assert dead(made_up, bad) == ["one: *.csv", "three: *"]
    licences = project["project"]["license-files"]
    assert "LICENSE" in licences
    assert [pattern for pattern in licences if not list(ROOT.glob(pattern))] == []
    every = {str(f.relative_to(ROOT)) for f in (ROOT / "mnas_search").rglob("*LICENSE*")}
    assert every <= {str(f.relative_to(ROOT)) for p in licences for f in ROOT.glob(p)}
