"""Studies of ``mfpde deep``: their keys, data, the limit and the finite widths they ask for, the file they fill."""
