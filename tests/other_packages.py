"""Packages that exported files are for, where they are installed."""

import importlib.util

import pytest
import torch

# Operators whose shape functions torchvision registers as it is imported.
_OPERATORS = (
    "_deform_conv2d_backward",
    "_ps_roi_align_backward",
    "_ps_roi_pool_backward",
    "_roi_align_backward",
    "_roi_pool_backward",
    "deform_conv2d",
    "nms",
    "ps_roi_align",
    "ps_roi_pool",
    "qnms",
    "qroi_align",
    "roi_align",
    "roi_pool",
)
_DECLARED = []


def need(*packages):
    """Skip the test where one is missing.

    torchvision's wheel is built for CUDA. Beside a CPU build of torch its compiled operators do
    not load, and without them it does not import, nor does timm, which imports it. They are
    declared here, without any code: networks do not use them.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if {"timm", "torchvision"} & {*packages} and not _DECLARED:
        try:
            importlib.import_module("torchvision")
        except RuntimeError:
            library = torch.library.Library("torchvision", "DEF")
            for name in _OPERATORS:
                library.define(f"{name}(Tensor x) -> Tensor")
            _DECLARED.append(library)
