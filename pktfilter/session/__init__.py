"""Sessions over a hook: replays here; `batches` and `live` are imported when they are used."""

from .options import BATCH_MAX, DEFAULT_BATCH, WORKERS_MAX
from .replay import Replay, replay
from .results import InputReport, Progress, ReplayResult, SwapReport

__all__ = [
    "BATCH_MAX",
    "DEFAULT_BATCH",
    "WORKERS_MAX",
    "InputReport",
    "Progress",
    "Replay",
    "ReplayResult",
    "SwapReport",
    "replay",
]
