"""The pages of the workbench, and what stands around every one of them."""

from pathlib import Path

import streamlit as st

from app import state, views
from app.screens import (
    around,
    case,
    cases,
    coverage,
    find,
    fix,
    incident,
    incidents,
    item,
    launches,
    member,
    model,
    objectives,
    overview,
    request,
)

st.set_page_config(page_title="Diagnosis", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")
views.style()

start = st.Page(lambda: state.forward("overview"), title="Start", url_path="start", default=True, visibility="hidden")
pages = {
    "overview": st.Page(overview.show, title="Overview", icon=":material/monitoring:", url_path="overview"),
    "incidents": st.Page(incidents.show, title="Incidents", icon=":material/notifications:", url_path="incidents"),
    "coverage": st.Page(coverage.show, title="Coverage", icon=":material/grid_on:", url_path="coverage"),
    "objectives": st.Page(objectives.show, title="Objectives", icon=":material/speed:", url_path="objectives"),
    "member": st.Page(member.show, title="Member", icon=":material/sentiment_dissatisfied:", url_path="member"),
    "item": st.Page(item.show, title="Item", icon=":material/deployed_code:", url_path="item"),
    "launches": st.Page(launches.show, title="Launches", icon=":material/rocket_launch:", url_path="launches"),
    "find": st.Page(find.show, title="Find", icon=":material/search:", url_path="find"),
    "request": st.Page(request.show, title="Request", icon=":material/biotech:", url_path="request"),
    "incident": st.Page(incident.show, title="Incident", icon=":material/troubleshoot:", url_path="incident"),
    "model": st.Page(model.show, title="Model", icon=":material/account_tree:", url_path="model"),
    "fix": st.Page(fix.show, title="Fix", icon=":material/healing:", url_path="fix"),
    "cases": st.Page(cases.show, title="Cases", icon=":material/folder_open:", url_path="cases"),
    "case": st.Page(case.show, title="Case", url_path="case", visibility="visible" if "case" in st.query_params else "hidden"),
}
state.PAGES.update(pages)
chosen = st.navigation(
    {
        "Detect": [start, pages["incidents"], pages["overview"], pages["objectives"], pages["item"], pages["member"], pages["coverage"]],
        "Predict": [pages["launches"]],
        "Diagnose": [pages["find"], pages["request"], pages["incident"], pages["model"]],
        "Resolve": [pages["fix"], pages["cases"], pages["case"]],
    },
    expanded=True,
)
if chosen is start:
    chosen.run()
with views.guarded():
    if around.ready():
        chosen.run()
