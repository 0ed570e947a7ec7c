"""Sessions: replays and batches over a hook."""

from .batches import Batch, batches
from .live import DEFAULT_LIVE_BATCH, Live, live
from .live_results import GenerationReport, LiveResult, SentCounts
from .options import BATCH_MAX, DEFAULT_BATCH
from .replay import Replay, replay
from .results import InputReport, Progress, ReplayResult, SwapReport

__all__ = [
    "BATCH_MAX",
    "DEFAULT_BATCH",
    "DEFAULT_LIVE_BATCH",
    "Batch",
    "GenerationReport",
    "InputReport",
    "Live",
    "LiveResult",
    "Progress",
    "Replay",
    "ReplayResult",
    "SentCounts",
    "SwapReport",
    "batches",
    "live",
    "replay",
]
