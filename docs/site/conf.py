"""Sphinx's settings of the manual; pipelines/manual builds it."""

project = "Perennial"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Perennial"
html_show_sphinx = False
# Headings have the anchors that GitHub gives them, and a diagram is shown as its text: the site needs no network.
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]
