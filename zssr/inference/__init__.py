"""Inference: the cascade of scale steps, regions and blocks, tiles, self-ensemble, texture."""
