"""Studies of ``mfpde one-step``: their keys, the theory and the finite sizes they ask for, the file they fill."""
