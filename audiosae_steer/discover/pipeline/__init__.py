"""A recipe in one call: data, SAE, edits, gates, calibration and test, in resumable stages."""
