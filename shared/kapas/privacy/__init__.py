"""Personal data: encryption, the data map, retention, legal holds, restrictions, consents, signed evidence."""
