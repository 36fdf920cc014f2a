"""Publishing: cards, export of baked weights, upload to the Hub and search there."""
