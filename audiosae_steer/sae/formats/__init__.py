"""File formats of SAEs, one module a format; `registry` lists them in the order in which they are tried."""
