"""A partner's details: identifiers, what is required of each kind of partner, encryption, and what answers show."""
