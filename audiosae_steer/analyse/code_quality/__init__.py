"""Quality of an SAE: what is left over, which features live, and what a model writes from its reconstruction."""
