"""The Streamlit workbench: a page is a short script; all it knows it asks of `diagnosis`."""
