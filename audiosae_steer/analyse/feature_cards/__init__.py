"""Cards of single features: density, clips, neighbours, labels, phones, places, effects, and random features beside."""
