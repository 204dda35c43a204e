"""The structure theory of a study or of an output: one module per topic of ``mfpde theory``, numbers ready for JSON."""
