"""The three paths: the reference, the fast forms, and the choice between them. Tensors only."""
