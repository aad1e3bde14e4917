"""What a Towline worker process is made of."""

__version__ = "0.1.0"
