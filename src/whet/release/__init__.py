"""Takes a trained policy out of whet: plain directories that other programs load, and the Hub."""
