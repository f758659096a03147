"""What `diagnosis import` does with kinds of logs: draft a mapping, read new files, say what became of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from diagnosis.cli.output import document, lines, plain

if TYPE_CHECKING:
    from diagnosis.log.foreign.kinds import Kind
    from diagnosis.log.foreign.mapping import Mapping
    from diagnosis.store import Workspace
    from diagnosis.store.importing import Imported


def import_log(workspace: Path, kind: Kind, source: Path, mapping: Path | None, *, draft: bool, again: bool, as_json: bool) -> None:
    """Read the new files of `source` into the workspace, made if absent; or write a first mapping."""
    from diagnosis.log.foreign.mapping import read_mapping
    from diagnosis.store.importing import import_log as read_log

    file = mapping or workspace / "imports" / f"{kind.name}.toml"
    if draft:
        _draft(workspace, kind, source, file, as_json)
        return
    read = read_mapping(file, kind.name)
    done = read_log(_opened(workspace), source, read, again=again)
    notes = _notes(done, read)
    if as_json:
        document({"workspace": str(workspace), "kind": kind.name, **vars(done), "notes": notes})
        return
    outcomes = f" and {done.outcomes} outcomes" if read.outcomes is not None else ""
    what = f"{done.requests} requests with {done.candidates} candidates{outcomes}"
    print(f"Imported {what} from {done.files} new files into {plain(workspace)}.")
    for note in notes:
        print(f"  {plain(note)}")


def _draft(workspace: Path, kind: Kind, source: Path, file: Path, as_json: bool) -> None:
    from diagnosis.errors import MappingError
    from diagnosis.log.foreign.draft import draft
    from diagnosis.store.import_files import draft_documents

    if file.exists():
        raise MappingError(file, "(whole file)", "is there already", "look it over, or write the draft elsewhere with --mapping.")
    text = draft(kind, draft_documents(source, kind))
    _opened(workspace)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    if as_json:
        document({"workspace": str(workspace), "kind": kind.name, "mapping": str(file), "toml": text})
        return
    print(lines(text))
    print(f"Written to {plain(file)}. Look it over, then run the command without --draft.")


def _opened(folder: Path) -> Workspace:
    """The workspace, made if there is none."""
    from diagnosis.store import Workspace
    from diagnosis.store.settings import FILE

    if (folder / FILE).exists() or (folder / "logs").exists():
        return Workspace.open(folder)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-_")
    return Workspace.create(folder, id=name[:64] or "workspace")


def _notes(done: Imported, mapping: Mapping) -> list[str]:
    notes = [f"set aside: {count} × {reason}" for reason, count in sorted(done.aside.items(), key=lambda pair: -pair[1])]
    if done.aside:
        notes.append(f"what was set aside lies in imports/{mapping.file.stem}/aside")
    if done.waiting:
        notes.append(f"{done.waiting} events wait for the others of their request")
    if done.outcomes_waiting:
        notes.append(f"{done.outcomes_waiting} outcomes wait for their request")
    if done.joined.get("member") and mapping.outcomes is not None:
        hours = mapping.outcomes.within_hours
        notes.append(
            f"{done.joined['member']} outcomes without a request id went to the member's last request within {hours:g} hours before"
        )
    if done.completed:
        notes.append(f"{done.completed} requests that were in the log have candidates now that came later")
    if done.approximate:
        notes.append(f"{done.approximate} requests have a time that is only approximate (time_quality)")
    if done.files and "keep_probability" not in mapping.requests:
        notes.append("keep_probability is not mapped: every request counts once")
    notes += [f"{column}: there was nothing at {path} in any request" for column, path in done.absent.items()]
    notes += [f"{column} is {why}" for column, why in done.renamed.items()]
    return notes
