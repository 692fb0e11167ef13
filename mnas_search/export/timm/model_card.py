"""The model card of an exported network: what it is, where it comes from, how to load it."""

import re

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import single_line
from mnas_search.export.base import Origin
from mnas_search.export.model_py.model_source import comment


def model_card(architecture: Architecture, origin: Origin, *, registered: bool) -> str:
    """Markdown with the Hub's front matter.

    Args:
        registered: whether timm knows the network only after `model.py` was imported.
    """
    counted = cost(architecture)
    untrained = origin.weights.startswith("untrained")
    facts = [
        ("weights", origin.weights),
        ("parameters", f"{counted.params:,}"),
        ("multiply-adds", f"{counted.macs:,} (convolutions and linear layers, batch 1)"),
        ("images", f"{architecture.resolution}x{architecture.resolution}"),
        ("classes", str(architecture.num_classes)),
        *origin.facts,
    ]
    if (images := origin.preprocessing) is not None:
        facts.append(("preprocessing", ", ".join(f"{k} {v}" for k, v in images.to_dict().items())))
    return _TEMPLATE.format(
        title=_plain(comment(architecture.label)),
        warning=_UNTRAINED if untrained else "",
        facts="\n".join(f"| {_cell(name)} | {_cell(text)} |" for name, text in facts),
        stages="\n".join(architecture.block_string.split()),
        imports="import timm\n\nimport model  # registers the network" * registered
        or "import timm",
    )


def _cell(text: str) -> str:
    return _plain(single_line(text))


def _plain(text: str) -> str:
    """Text in which Markdown finds no table, HTML, link, picture or code of its own."""
    return re.sub(r"[\\|`\[\]*]", r"\\\g<0>", text.replace("&", "&amp;").replace("<", "&lt;"))


_UNTRAINED = """
**These weights are untrained.** The network says nothing about any image before it is trained.
"""

_TEMPLATE = """\
---
library_name: timm
pipeline_tag: image-classification
tags:
- image-classification
- timm
- neural-architecture-search
---
# {title}

A convolutional network for images, written by mnas-search.
{warning}
| | |
|---|---|
{facts}

Stages, in timm's grammar:

```
{stages}
```

In this folder:

```python
{imports}

network = timm.create_model("local-dir:.", pretrained=True).eval()
```
"""
