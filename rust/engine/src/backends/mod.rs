//! Where the arithmetic runs: the Backend trait, cpu and the shape-checking null. Knows no model.
