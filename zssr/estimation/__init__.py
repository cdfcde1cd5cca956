"""Estimating from a photo how it was made small."""
