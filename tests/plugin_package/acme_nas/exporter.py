"""An exporter to numpy's .npz files."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnas_search import Architecture, Exporter, UsageError, build

if TYPE_CHECKING:
    import torch


class NpzExporter(Exporter):
    """`network.npz`: the weights by their names, and the architecture as JSON."""

    def export(
        self, architecture: Architecture, weights: "dict[str, torch.Tensor] | None", path: Path
    ) -> tuple[Path, ...]:
        """Write `network.npz`; initial weights where none are given."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            state = build(architecture).state_dict()
        if weights is not None:
            if state.keys() != weights.keys():
                names = ", ".join(sorted(state.keys() ^ weights.keys()))
                raise UsageError(f"weights must be those of the network; they differ in {names}")
            state = weights
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        file = path / "network.npz"
        np.savez(file, architecture=np.array(architecture.to_json()), **arrays)
        return (file,)
