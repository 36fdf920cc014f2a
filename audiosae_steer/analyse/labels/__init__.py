"""Search of labels for features."""
