"""Names of `srnn.training.runs` at their earlier place."""

from srnn.training.runs import load_checkpoint as load_checkpoint
from srnn.training.runs import load_run as load_run
