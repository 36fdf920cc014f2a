"""The explorer: an index of what the features of an SAE fire on, and a page to look, listen and steer in."""
