"""Reference estimators of local resolution, native: tensors in, tensors out."""
