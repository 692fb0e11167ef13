"""The metrics of a training as TensorBoard events, where tensorboard is installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from mnas_search.experiments.training.checkpoints import Epoch


@final
class TensorBoard:
    """`tensorboard/` in a training's folder; call `close` at the end.

    Attributes:
        written: whether there are any.
    """

    def __init__(self, folder: Path, history: Sequence[Epoch]) -> None:
        """Of a training that has these epochs behind it; events of later ones are void."""
        self.written = importlib.util.find_spec("tensorboard") is not None
        self._writer: Any = None
        if self.written:
            from torch.utils.tensorboard import SummaryWriter

            step = history[-1].epoch + 1 if history else None
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def add(self, epoch: Epoch) -> None:
        """One epoch."""
        if self._writer is None:
            return
        values = {
            "loss/training": epoch.loss,
            "learning rate": epoch.learning_rate,
            "validation/top-1": epoch.top1,
            "validation/top-5": epoch.top5,
            "seconds": epoch.seconds,
        }
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Finish the files."""
        if self._writer is not None:
            self._writer.close()
