"""Small models and data that tests share."""
