"""Reports: one HTML file of a run, or of several side by side, that needs nothing but itself (extra
"report": matplotlib, Jinja2).

    folder ─read_run→ Read ─look→ Watched ─pictures, sheets→ sections ─page→ HTML

What cannot be shown is said where it would stand, with the reason. Everything that comes from data
and settings is text, never markup: the page has no script, no link to another host, and a content
security policy that allows neither.
"""

from __future__ import annotations

from srnn.report.make import Report as Report
from srnn.report.make import compose as compose
from srnn.report.make import of_run as of_run
from srnn.report.read import runs_in as runs_in
