"""The dialects of LIST: RFC 959 §4.1.3 leaves to every server what its lines look like."""
