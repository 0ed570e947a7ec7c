"""What programs do while they run: single packets step by step, coverage and costs over captures."""
