"""Two windows in, ranked and proved causes out."""
