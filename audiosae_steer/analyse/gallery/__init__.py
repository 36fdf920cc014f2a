"""All analyses that the data can bear, one after another, with one page of their results."""
