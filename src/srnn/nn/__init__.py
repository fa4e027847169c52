"""What a network is built from: layers, their norms and stacks, the baselines of the papers."""
