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
        Resources,
        SupportsBaseResolution,
        SupportsBatchPrediction,
        SupportsCaveats,
        SupportsIndependentPair,
        SupportsIntermediateReports,
        SupportsLabel,
        SupportsNoise,
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

# The module of each name, and its name there where it is another.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "Architecture": "architecture.value",
    "Callback": "experiments.listener",
    "Choices": "nas.space.choices",
    "Codes": "nas.space.choices",
    "Controller": "nas.controller",
    "Cost": "architecture.cost.base",
    "CostModel": "nas.space.cost_model",
    "Dataset": "data.values",
    "Decision": "nas.space.choices",
    "Evaluation": "nas.trial",
    "Evaluator": "nas.evaluator",
    "Exporter": "export.base",
    "InvalidArchitecture": "common.errors",
    "MnasSearchError": "common.errors",
    "Objective": "nas.objective",
    "Origin": "export.base",
    "Problem": "nas.problem",
    "Proposal": "nas.ask_tell",
    "Resources": "nas.evaluator",
    "SearchSpace": "nas.space.contract",
    "Split": "data.values",
    "Stage": "architecture.stage",
    "StagewiseSpace": "nas.space.contract",
    "Stem": "architecture.stage",
    "Study": "nas.ask_tell",
    "SupportsBaseResolution": "nas.evaluator",
    "SupportsBatchPrediction": "nas.evaluator",
    "SupportsCaveats": "nas.evaluator",
    "SupportsIndependentPair": "nas.evaluator",
    "SupportsIntermediateReports": "nas.evaluator",
    "SupportsLabel": "nas.evaluator",
    "SupportsNoise": "nas.evaluator",
    "SupportsTabularResults": "nas.evaluator",
    "SupportsTestSplit": "nas.evaluator",
    "SupportsTraining": "nas.evaluator",
    "TabularResults": "nas.evaluator",
    "TracedNetwork": "architecture.traced_network",
    "Trial": "nas.trial",
    "UsageError": "common.errors",
    "WorkFailed": "common.errors",
    "activation_map": "networks.explain",
    "ask_tell": "nas.ask_tell",
    "assemble_dataset": "data.splits:assemble",
    "build": "networks.network",
    "cost": "architecture.cost.count",
    "decode_codes": "nas.space.choices:decode",
    "device_performance": "evaluators.accel_nasbench.evaluator:performance",
    "encode_choices": "nas.space.choices:encode",
    "gradient_activation_map": "networks.explain",
    "inference_memory": "architecture.cost.memory",
    "load_dataset": "data.loading:load",
    "load_plugin": "common.plugins:load",
    "read_latency_table": "architecture.cost.latency.table:read_table",
    "sample_choices": "nas.space.choices:sample",
    "search": "experiments.search.api",
    "space_cost": "nas.space.cost",
    "training_memory": "architecture.cost.memory",
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
    home, _, attribute = _HOMES[name].partition(":")
    value: object = getattr(import_module(f"mnas_search.{home}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
