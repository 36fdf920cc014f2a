"""Features that tell two kinds of clips apart, as a recipe with a report."""
