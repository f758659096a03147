"""Reads a spool folder as the collector does, for tests."""

from pathlib import Path

from diagnosis.log.decoding import parse
from diagnosis.log.spool import read_segment, sealed_segments


def parsed(folder):
    """What each sealed segment of `folder` says."""
    return [parse(read_segment(file)) for file in sealed_segments(Path(folder))]


def logged(folder):
    """All requests of the sealed segments, in the order of their sequence."""
    return sorted((r for part in parsed(folder) for r in part.requests), key=lambda r: (r.writer, r.sequence))


def volumes(folder):
    """Seen, sent and lost by stratum."""
    found = {}
    for part in parsed(folder):
        for row in part.volumes:
            have = found.get(row["stratum"], (0, 0, 0))
            found[row["stratum"]] = tuple(a + row[k] for a, k in zip(have, ("seen", "sent", "lost"), strict=True))
    return found
