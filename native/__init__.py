"""The runtime: C sources (the single definition of the packed model) and their Python binding."""
