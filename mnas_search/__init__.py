"""mnas-search: neural architecture search that reproduces the discovery of EfficientNet-B0.

    import mnas_search
    result = mnas_search.search("400M", trials=48)
    print(result.architecture.block_string)

Everything that users and plug-in authors need is here, and is loaded when it is first used:
importing this package loads neither torch, Ray nor Optuna. Block kinds find their parts in
`mnas_search.blocks` and `mnas_search.networks.layers`, tests their suites in
`mnas_search.testing`. All other modules are private.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnas_search import reference
    from mnas_search.architecture.cost.base import Cost
    from mnas_search.architecture.cost.count import cost
    from mnas_search.architecture.cost.latency.table import read_table as read_latency_table
    from mnas_search.architecture.cost.memory import inference_memory, training_memory
    from mnas_search.architecture.stage import Stage, Stem
    from mnas_search.architecture.traced_network import TracedNetwork
    from mnas_search.architecture.value import Architecture
    from mnas_search.common.errors import (
        InvalidArchitecture,
        MnasSearchError,
        UsageError,
        WorkFailed,
    )
    from mnas_search.common.plugins import load as load_plugin
    from mnas_search.data.loading import load as load_dataset
    from mnas_search.data.splits import assemble as assemble_dataset
    from mnas_search.data.values import Dataset, Split
    from mnas_search.evaluators.accel_nasbench.evaluator import performance as device_performance
    from mnas_search.experiments.listener import Callback
    from mnas_search.experiments.search.api import search
    from mnas_search.export.base import Exporter, Origin
    from mnas_search.nas.ask_tell import Proposal, Study, ask_tell
    from mnas_search.nas.controller import Controller
    from mnas_search.nas.evaluator import (
        Evaluator,
        PriorMember,
        PriorTimes,
        Resources,
        SupportsBaseResolution,
        SupportsBatchPrediction,
        SupportsCaveats,
        SupportsIndependentPair,
        SupportsIntermediateReports,
        SupportsLabel,
        SupportsNoise,
        SupportsPriorTraining,
        SupportsSpace,
        SupportsTabularResults,
        SupportsTestSplit,
        SupportsTraining,
        TabularResults,
    )
    from mnas_search.nas.objective import Objective
    from mnas_search.nas.problem import Problem
    from mnas_search.nas.space.choices import Choices, Codes, Decision
    from mnas_search.nas.space.choices import decode as decode_codes
    from mnas_search.nas.space.choices import encode as encode_choices
    from mnas_search.nas.space.choices import sample as sample_choices
    from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace
    from mnas_search.nas.space.cost import space_cost
    from mnas_search.nas.space.cost_model import CostModel
    from mnas_search.nas.trial import Evaluation, Trial
    from mnas_search.networks.explain import activation_map, gradient_activation_map
    from mnas_search.networks.network import build

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Names by their module; `there:here` where a name is another one there.
_MODULES = {
    "architecture.cost.base": "Cost",
    "architecture.cost.count": "cost",
    "architecture.cost.latency.table": "read_table:read_latency_table",
    "architecture.cost.memory": "inference_memory training_memory",
    "architecture.stage": "Stage Stem",
    "architecture.traced_network": "TracedNetwork",
    "architecture.value": "Architecture",
    "common.errors": "InvalidArchitecture MnasSearchError UsageError WorkFailed",
    "common.plugins": "load:load_plugin",
    "data.loading": "load:load_dataset",
    "data.splits": "assemble:assemble_dataset",
    "data.values": "Dataset Split",
    "evaluators.accel_nasbench.evaluator": "performance:device_performance",
    "experiments.listener": "Callback",
    "experiments.search.api": "search",
    "export.base": "Exporter Origin",
    "nas.ask_tell": "Proposal Study ask_tell",
    "nas.controller": "Controller",
    "nas.evaluator": (
        "Evaluator PriorMember PriorTimes Resources SupportsBaseResolution "
        "SupportsBatchPrediction SupportsCaveats SupportsIndependentPair "
        "SupportsIntermediateReports SupportsLabel SupportsNoise SupportsPriorTraining "
        "SupportsSpace SupportsTabularResults SupportsTestSplit SupportsTraining TabularResults"
    ),
    "nas.objective": "Objective",
    "nas.problem": "Problem",
    "nas.space.choices": (
        "Choices Codes Decision decode:decode_codes encode:encode_choices sample:sample_choices"
    ),
    "nas.space.contract": "SearchSpace StagewiseSpace",
    "nas.space.cost": "space_cost",
    "nas.space.cost_model": "CostModel",
    "nas.trial": "Evaluation Trial",
    "networks.explain": "activation_map gradient_activation_map",
    "networks.network": "build",
}
_HOMES = {
    name.rpartition(":")[2]: (module, name.partition(":")[0])
    for module, names in _MODULES.items()
    for name in names.split()
}

__all__ = [
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
]


def __getattr__(name: str) -> object:
    if name == "reference":
        return import_module("mnas_search.reference")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(f"mnas_search.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
