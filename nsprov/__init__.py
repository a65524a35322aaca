"""nsprov: labs of Linux namespaces, on this host or on many over SSH, from one file."""

__version__ = "0.1.0"
__all__ = ["__version__"]
