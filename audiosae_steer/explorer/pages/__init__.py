"""Pages over an index: a Starlette application, its views, and their files without a server."""
