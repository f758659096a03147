"""Colours of the workbench, light and dark."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's palette: told apart with every common colour vision, on white and on black.
LOGGED, REPLAYED, UP, DOWN, MARK = "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7"

OPTIONS: dict[str, Any] = {
    "theme.light.primaryColor": "#1f5fbf",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f4f6f9",
    "theme.light.textColor": "#1c2333",
    "theme.dark.primaryColor": "#6ea8fe",
    "theme.dark.backgroundColor": "#10141c",
    "theme.dark.secondaryBackgroundColor": "#1a202c",
    "theme.dark.textColor": "#e6e9f0",
    "theme.baseRadius": "small",
    "theme.baseFontSize": 15,
    "theme.headingFontSizes": ["1.7rem", "1.4rem", "1.15rem", "1.05rem", "1rem", "1rem"],
    "theme.metricValueFontSize": "1.5rem",
}
