"""The index: made of shards of any number of workers, served from one SQLite file."""
