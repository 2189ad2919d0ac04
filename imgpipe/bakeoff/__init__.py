"""Several models of one action on a sample of pictures, side by side on one page."""
