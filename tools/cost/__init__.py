"""What a month costs, for three loads: from the catalog, the settings of production, and a table of prices."""
