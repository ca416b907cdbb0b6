"""What a cell stands for: numbers as people write them, dates, truth values, texts."""
