"""One command per file, each with a ``command``; heavy imports live inside its function."""
