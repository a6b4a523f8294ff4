"""The version, in a file of its own: whoever prints it need not import the whole package, which may be importing him."""

__version__ = "0.1.0"
