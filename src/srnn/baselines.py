"""Names of `srnn.nn.baselines` at their earlier place."""

from srnn.nn.baselines import CausalConv as CausalConv
from srnn.nn.baselines import CumulativeReadout as CumulativeReadout
from srnn.nn.baselines import Exponential as Exponential
from srnn.nn.baselines import Tandem as Tandem
