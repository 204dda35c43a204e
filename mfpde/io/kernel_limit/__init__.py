"""Studies of ``mfpde kernel-limit``: their keys, data, runs and files."""
