"""Views of the explorer: each a module of routes, a template and an ES module of its name."""
