"""Replay a request: does the model give the same scores, do the rules give the same page, and what if."""

from diagnosis.reproduce.batch import BatchReplay, replay_batch
from diagnosis.reproduce.edits import NO_EDITS, Edit, Edits, parse_edit
from diagnosis.reproduce.replay import replay
from diagnosis.reproduce.result import Replay
from diagnosis.reproduce.workbench import Workbench

__all__ = ["NO_EDITS", "BatchReplay", "Edit", "Edits", "Replay", "Workbench", "parse_edit", "replay", "replay_batch"]
