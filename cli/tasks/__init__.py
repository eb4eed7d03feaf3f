"""What several commands do, without printing: timing, comparing, images, opening models."""
