"""What the theory says about a study: admissible weight, identifiability, sparse dictionary, error decomposition."""
