"""filigree's command line; ``filigree.cli.main.main`` is the entry point."""
