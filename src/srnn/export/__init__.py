"""Trained networks for other programs: ONNX, NIR, torch.export, plain tensors; and the import of published weights."""
