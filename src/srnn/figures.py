"""Names of `srnn.report.figures` at their earlier place."""

from srnn.report.figures import recording as recording
from srnn.report.figures import save as save
