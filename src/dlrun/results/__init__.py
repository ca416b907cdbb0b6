"""What runs leave behind: the store on disk, tables, statistics. Knows neither the engine nor its components."""
