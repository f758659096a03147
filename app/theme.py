"""Colours and type of the workbench, light and dark, as options of Streamlit: so they hold from an installed wheel too."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's palette, told apart with every common colour vision; those kept here stand out on white and on near black alike.
BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8A93A3"
LOGGED, REPLAYED = BLUE, VERMILION
UP, DOWN, SAME = GREEN, VERMILION, GREY
GROUPS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, "#7F5AB6", GREY)

OPTIONS: dict[str, Any] = {
    "theme.baseRadius": "small",
    "theme.baseFontSize": 15,
    "theme.paddingTop": "0.5rem",
    "theme.paddingBottom": "3rem",
    "theme.headingFontSizes": ["1.45rem", "1.15rem", "1.05rem", "1rem", "1rem", "1rem"],
    "theme.headingFontWeights": [650, 650, 600, 600, 600, 600],
    "theme.codeFontSize": "0.85rem",
    "theme.metricValueFontSize": "1.45rem",
    "theme.linkUnderline": False,
    "theme.chartCategoricalColors": list(GROUPS),
    "theme.light.primaryColor": "#1F5FBF",
    "theme.light.backgroundColor": "#FFFFFF",
    "theme.light.secondaryBackgroundColor": "#F3F5F8",
    "theme.light.textColor": "#1B2231",
    "theme.light.codeTextColor": "#1B2231",
    "theme.light.linkColor": "#1F5FBF",
    "theme.light.borderColor": "#D9DEE7",
    "theme.light.sidebar.backgroundColor": "#F3F5F8",
    "theme.light.sidebar.secondaryBackgroundColor": "#FFFFFF",
    "theme.dark.primaryColor": "#7DB0FF",
    "theme.dark.backgroundColor": "#0E131B",
    "theme.dark.secondaryBackgroundColor": "#18202C",
    "theme.dark.textColor": "#E4E8F0",
    "theme.dark.codeTextColor": "#E4E8F0",
    "theme.dark.linkColor": "#8DBBFF",
    "theme.dark.borderColor": "#2B3546",
    "theme.dark.sidebar.backgroundColor": "#121924",
    "theme.dark.sidebar.secondaryBackgroundColor": "#1D2735",
}
