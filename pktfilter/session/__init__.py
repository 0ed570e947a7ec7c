"""Sessions: replays and batches over a hook."""

from .batches import Batch, batches
from .options import BATCH_MAX, DEFAULT_BATCH
from .replay import Replay, replay
from .results import InputReport, Progress, ReplayResult, SwapReport

__all__ = [
    "BATCH_MAX",
    "DEFAULT_BATCH",
    "Batch",
    "InputReport",
    "Progress",
    "Replay",
    "ReplayResult",
    "SwapReport",
    "batches",
    "replay",
]
