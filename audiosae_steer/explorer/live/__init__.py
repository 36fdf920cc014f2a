"""The live part of the explorer: own clips, steering, and recipes made by hand; pure Python, without the web."""
