"""The metrics of a training as TensorBoard events, where tensorboard is installed."""

import importlib.util
from pathlib import Path
from typing import Any, final

from mnas_search.common.files import make_folder
from mnas_search.experiments.training.checkpoints import Epoch


@final
class TensorBoard:
    """Writes `tensorboard/` in a training's folder; `available` is False without the package."""

    def __init__(self, folder: Path, done: int) -> None:
        """Continue after `done` epochs; events of later ones are discarded."""
        self.available = importlib.util.find_spec("tensorboard") is not None
        self._writer: Any = None
        if self.available:
            from torch.utils.tensorboard import SummaryWriter

            step = done + 1 if done else None
            place = make_folder(folder / "tensorboard")
            self._writer = SummaryWriter(str(place), purge_step=step)

    def add(self, epoch: Epoch) -> None:
        """Write the metrics of an epoch."""
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
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
