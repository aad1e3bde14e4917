"""The FTPS protocol: connections that live once, replies in a queue, listings, proofs."""
