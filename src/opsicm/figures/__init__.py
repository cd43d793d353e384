"""Every path from data to picture: view(data) -> View, draw(View) -> Figure."""
