"""The accuracy of a network on a split, with its confidence interval."""

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from mnas_search.common.statistics import wilson
from mnas_search.training.loop import Images
from mnas_search.training.worker_context import SINGLE_PROCESS, WorkerContext

_LARGEST_BATCH = 256
_TOP = 5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Images classified correctly.

    Attributes:
        right: whose class is the likeliest one.
        right5: whose class is among the five likeliest; None where there are no more than five
            classes.
        count: all.
    """

    right: int
    right5: int | None
    count: int

    @property
    def top1(self) -> float:
        """Share of images, a fraction."""
        return self.right / self.count

    @property
    def top5(self) -> float | None:
        """Share of images, a fraction."""
        return None if self.right5 is None else self.right5 / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of top-1 for a random sample of `count` images (E. B. Wilson,
        JASA 22, 1927)."""
        return wilson(self.right, self.count)


def score(
    network: nn.Module,
    data: Images,
    *,
    batch: int = _LARGEST_BATCH,
    share: WorkerContext = SINGLE_PROCESS,
) -> Score:
    """Classify a split; each process takes its part, and all get the whole score.

    Args:
        batch: images at a time that memory is known to be enough for; never more than 256.
    """
    network.eval()
    device = data.labels.device
    indices = torch.arange(len(data), device=device)[share.part]
    rights = torch.zeros(2, dtype=torch.int64, device=device)
    classes = _TOP
    with torch.inference_mode():
        for index in torch.split(indices, min(batch, _LARGEST_BATCH)):
            logits = network(data.normalise(data.batch(index)))
            classes = logits.shape[1]
            found = logits.topk(min(_TOP, classes)).indices == data.labels[index, None]
            rights += torch.stack([found[:, 0].sum(), found.sum()])
        right, right5 = share.sum(rights).tolist()
    return Score(right=right, right5=right5 if classes > _TOP else None, count=len(data))
