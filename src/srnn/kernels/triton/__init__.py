"""What the printed Triton kernels consist of beside the step: the loop over time, and functions."""
