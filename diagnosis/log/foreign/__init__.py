"""Request logs that serving systems already write: read as events, joined to documents, mapped to requests and candidates.

A kind (`diagnosis.log.foreign.kinds`) knows a format: it turns a file into events. A mapping file knows what no format can: which input is
the item, which the member, where the list of candidates is. What cannot be parsed, joined or mapped comes back with its reason.
"""

from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.mapping import Mapping, parse_mapping, read_mapping
from diagnosis.log.foreign.rows import Mapped, map_documents

__all__ = ["Aside", "Event", "Mapped", "Mapping", "map_documents", "parse_mapping", "read_mapping"]
