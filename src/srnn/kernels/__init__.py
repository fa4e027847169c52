"""From a neuron's step to operations: traced once, counted (energy) and, by the kernel printers,
turned into code.
"""
