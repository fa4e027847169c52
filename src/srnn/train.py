"""Names of `srnn.training.train` at their earlier place."""

from srnn.training.train import fit as fit
from srnn.training.train import fit_together as fit_together
