"""Blind estimation from a photo alone: its blur kernel, noise level and JPEG compression."""
