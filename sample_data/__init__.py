"""A simulated streaming service and its incidents, and importers of public data sets."""
