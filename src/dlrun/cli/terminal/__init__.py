"""What the terminal shows, and what it may be told: tables, progress, charts as characters, the streams of the process."""
