"""Small models that come with the package, one folder each with a card (README.md). Knows no code."""
