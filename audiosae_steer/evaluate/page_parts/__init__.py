"""Parts of pages that several share: curves over spectrograms with sound in step, histograms, intervals."""
