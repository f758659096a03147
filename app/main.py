"""The pages of the workbench."""

from pathlib import Path

import streamlit as st

from app import state
from app.screens import case, cases, find, overview, request

st.set_page_config(page_title="Diagnosis", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")

pages = {
    "overview": st.Page(overview.show, title="Overview", icon=":material/space_dashboard:", url_path="overview"),
    "find": st.Page(find.show, title="Find a request", icon=":material/search:", url_path="find"),
    "request": st.Page(request.show, title="Request", icon=":material/receipt_long:", url_path="request"),
    "cases": st.Page(cases.show, title="Cases", icon=":material/folder_open:", url_path="cases"),
    "case": st.Page(case.show, title="Case", icon=":material/description:", url_path="case"),
}
state.PAGES.update(pages)


def home() -> None:
    """The bare address: forwards to the overview."""
    st.switch_page(pages["overview"], query_params=state.raw())


start = st.Page(home, title="Home", default=True, visibility="hidden")
chosen = st.navigation(
    {"Detect": [start, pages["overview"]], "Diagnose": [pages["find"], pages["request"]], "Resolve": [pages["cases"], pages["case"]]}
)
if chosen is not start:
    state.sidebar()
chosen.run()
