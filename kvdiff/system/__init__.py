"""The ground: what every room may use, with nothing but Python. The version, files, lazy names, the machine."""

__version__ = "0.2.0"
