"""Slides: images of gigapixels, learned from crops of all over them and upscaled block by block, on any executor."""
