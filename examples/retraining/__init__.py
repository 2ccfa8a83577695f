"""A registered model that is retrained as labels come."""
