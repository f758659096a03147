"""What a logged request is, and how one is named and filtered."""

from diagnosis.log.filters import Clause, Filter, parse_filter
from diagnosis.log.records import Batch, Request, to_frame

__all__ = ["Batch", "Clause", "Filter", "Request", "parse_filter", "to_frame"]
