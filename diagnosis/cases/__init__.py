"""Investigations: cases, frozen shares, reports."""

from diagnosis.cases.casebook import Case, Entry, add_entry, create_case, get_case, list_cases, set_status
from diagnosis.cases.evidence import Evidence, WindowsEvidence, evidence_of, moved, windows_evidence_of
from diagnosis.cases.incident import incident_page
from diagnosis.cases.pages import Page, Section, case_page, render, request_page
from diagnosis.cases.shares import Share, ShareGone, list_shares, open_share, revoke, share
from diagnosis.cases.verdict import Verdict, verdict_on

__all__ = [
    "Case",
    "Entry",
    "Evidence",
    "Page",
    "Section",
    "Share",
    "ShareGone",
    "Verdict",
    "WindowsEvidence",
    "add_entry",
    "case_page",
    "create_case",
    "evidence_of",
    "get_case",
    "incident_page",
    "list_cases",
    "list_shares",
    "moved",
    "open_share",
    "render",
    "request_page",
    "revoke",
    "set_status",
    "share",
    "verdict_on",
    "windows_evidence_of",
]
