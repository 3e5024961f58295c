"""Networks built from settings, and the plans that compute them."""
