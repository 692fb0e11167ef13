"""A kill inside this process."""

import os
from contextlib import contextmanager

import pytest


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@contextmanager
def killed_before_file(number):
    """Kill what runs in the block when this number of files are in place, and one is about to
    be."""
    count, replace_file = 0, os.replace

    def killing(source, target):
        nonlocal count
        if count == number:
            raise Killed
        count += 1
        replace_file(source, target)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(os, "replace", killing)
        yield
