"""Speed and memory of training, ours and others', measured side by side in one process (see
benchmarks/README.md).
"""
