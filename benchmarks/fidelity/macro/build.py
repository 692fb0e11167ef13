"""Make this package's data from the recorded networks as JSON.

    python -m mnas_search.benchmarks.fidelity.macro.build nas-bench-macro-dev.json.gz FOLDER

writes `networks.npz` into FOLDER. The JSON maps each part to networks, and each network's code
("11222021") to `test_acc` (in percent, three of them), `params` and `flops`.
"""

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.fidelity.macro.recorded import DATA, SPLITS


def main(arguments: list[str]) -> None:
    """Write the file."""
    source, folder = arguments
    parts = json.loads(gzip.decompress(Path(source).read_bytes()))
    columns: dict[str, Any] = {
        f"{split}_{name}": column
        for split in SPLITS
        for name, column in arrays(parts[split]).items()
    }
    np.savez_compressed(Path(folder) / DATA, **columns)


def arrays(networks: Mapping[str, Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return the networks of a part as arrays, in the order of the JSON."""
    records = networks.values()
    return {
        "codes": np.array([[int(digit) for digit in code] for code in networks], np.uint8),
        "params": np.array([record["params"] for record in records], np.int32),
        "macs": np.array([record["flops"] for record in records], np.int32),
        # In hundredths of a percent: one of CIFAR-10's 10,000 test images each.
        "accuracy": np.array(
            [[round(100 * value) for value in record["test_acc"]] for record in records], np.uint16
        ),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
