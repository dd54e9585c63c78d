"""How runs show themselves in a notebook: pages, explorer, pictures, progress."""
