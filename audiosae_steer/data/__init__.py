"""Audio in: files, data sets, labels, splits and augmentation; and, in `activations`, residuals out."""
