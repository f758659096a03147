"""Investigations: cases, frozen shares, reports."""

from diagnosis.cases.casebook import Case, Entry, add_entry, create_case, get_case, list_cases, set_status
from diagnosis.cases.evidence import Evidence, WindowsEvidence, evidence_of, moved, windows_evidence_of
from diagnosis.cases.hypotheses import Hypothesis, add_findings, add_localization, decide, hypotheses
from diagnosis.cases.incident import incident_page
from diagnosis.cases.pages import Page, Section, case_page, render, request_page
from diagnosis.cases.postmortem import Postmortem, postmortem, postmortem_markdown, postmortem_page
from diagnosis.cases.shares import Share, ShareGone, list_shares, open_share, revoke, share
from diagnosis.cases.similar import Similar, similar
from diagnosis.cases.timeline import Story, story
from diagnosis.cases.verdict import Verdict, verdict_on
from diagnosis.cases.watches import Watch, add_watch, remove_watch, watches

__all__ = [
    "Case",
    "Entry",
    "Evidence",
    "Hypothesis",
    "Page",
    "Postmortem",
    "Section",
    "Share",
    "ShareGone",
    "Similar",
    "Story",
    "Verdict",
    "Watch",
    "WindowsEvidence",
    "add_entry",
    "add_findings",
    "add_localization",
    "add_watch",
    "case_page",
    "create_case",
    "decide",
    "evidence_of",
    "get_case",
    "hypotheses",
    "incident_page",
    "list_cases",
    "list_shares",
    "moved",
    "open_share",
    "postmortem",
    "postmortem_markdown",
    "postmortem_page",
    "remove_watch",
    "render",
    "request_page",
    "revoke",
    "set_status",
    "share",
    "similar",
    "story",
    "verdict_on",
    "watches",
    "windows_evidence_of",
]
