"""Errors, and plug-ins by their names."""

import pytest

from mnas_search.common import plugins
from mnas_search.common.errors import MnasSearchError, UnknownName, UsageError


def test_errors_form_one_tree():
    assert issubclass(UsageError, MnasSearchError)
    assert issubclass(UsageError, ValueError)
    assert issubclass(UnknownName, UsageError)


def test_every_entry_point_loads():
    for group in plugins.GROUPS:
        found = plugins.installed(group)
        assert found
        for plugin in found:
            assert plugins.load(group, plugin.name) is not None


def test_a_file_that_does_not_load(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name\n")
    with pytest.raises(UsageError, match=r"broken\.py does not load: ModuleNotFoundError"):
        plugins.load("search_spaces", f"{broken}:Space")
