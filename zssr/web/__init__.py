"""The web page: upload a photo, watch its network train, and compare the result with bicubic."""
