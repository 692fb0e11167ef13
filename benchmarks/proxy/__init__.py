"""Trainings of candidates: ours against a plain PyTorch loop, and what the workers cost.

Ours runs as a search runs it, over Ray with a process a core. The plain loop is what users write:
one process, a DataLoader with an augmentation an image, images in torch's own layout, torch's
threads; the better of its settings counts. Both train the same modules from the same seeds, with
the same optimiser, schedule, augmentation, epochs and batch, in turn, so that a busy machine slows
both. The start of processes is left out on both sides; Ray's is shown.
"""

from mnas_search.benchmarks.proxy.comparison import compare, watch
from mnas_search.benchmarks.proxy.workloads import LARGE, QUICK, SMALL

__all__ = ["LARGE", "QUICK", "SMALL", "compare", "watch"]
