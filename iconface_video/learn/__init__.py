"""What learning needs wherever it happens: losses and the Muon optimizer. Pure functions of tensors; no data, no files."""
