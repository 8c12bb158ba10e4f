"""Plain values: time, identifiers, money, quantities, states. They import nothing of the rest."""
