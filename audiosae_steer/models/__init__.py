"""Audio models: loading, and the sites where a residual can be read and replaced. Knows no SAE."""
