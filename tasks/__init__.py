"""The tasks: each file one task, named after it. Thin; what they do is in `workers`."""
