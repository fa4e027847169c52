"""Names of `srnn.nn.networks` at their earlier place."""

from srnn.nn.networks import detached as detached
