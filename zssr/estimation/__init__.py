"""What a photo tells about how it was made."""
