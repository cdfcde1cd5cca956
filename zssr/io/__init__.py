"""Picture files: what each format holds, read by rows and written whole, with everything around the pixels."""
