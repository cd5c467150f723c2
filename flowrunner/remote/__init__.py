"""A running engine seen from a terminal, here or elsewhere: ``flowrunner top`` and ``flowrunner tap``."""
