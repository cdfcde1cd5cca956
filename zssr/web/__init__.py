"""A web page on which a photo is dropped, its network is seen learning, and the result is compared."""
