"""Data for the coordinator: requests with the specialist that each belongs to. Knows no model."""
