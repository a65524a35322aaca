"""What must hold and what would change: pure values and functions, no input or output."""
