"""Front ends: the only modules that know a foreign file format."""
